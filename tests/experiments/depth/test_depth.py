"""Stacks of several kinds: their sizes, what is measured layer by layer, and what a small run leaves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import Batch
from experiments.depth.measure import cell_params, layer_gradients, measure, outputs_by_layer
from experiments.depth.nets import KINDS, STEP, Kind, Net, net_of_size
from experiments.depth.report import Found, best_rates, gains
from experiments.objective import tagging
from models import unroll
from tests.experiments.command import command


def batch_of(window: int, types: int) -> Batch:
    ids = np.random.default_rng(0).integers(types, size=(window + 1, 4)).astype(np.int32)
    return Batch(jnp.asarray(ids[:-1]), jnp.asarray(ids[1:]), jnp.ones((window, 4), bool))


@pytest.mark.full
@pytest.mark.parametrize("kind", ["lstm", pytest.param("post_norm", marks=pytest.mark.full)])
def test_the_nearest_width(kind: Kind) -> None:
    found = net_of_size(kind, 3, 9000, 20, 8)
    counts = [Net(kind, 3, width, 20, 8).parameters() for width in range(STEP, 48, STEP)]
    assert abs(found.parameters() - 9000) == min(abs(count - 9000) for count in counts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", [kind if kind == "lstm" else pytest.param(kind, marks=pytest.mark.full) for kind in KINDS]
)
def test_measures_of_layers(kind: Kind) -> None:
    """The norm of a layer's gradient is the slope along it, by differences; the last outputs are the stack's."""
    net = Net(kind, 2, 4, 7, 5)
    batch, model = batch_of(5, 7), net.model()
    params: Any = jax.jit(model.init)(jax.random.key(0), batch.inputs)

    def loss(params: Any) -> jax.Array:
        total, count = tagging(jnp.asarray(model.apply(params, batch.inputs)), batch)["cross_entropy"]
        return total / count

    gradients = cell_params(jax.grad(loss)(params))["layers"]
    for layer, norm in enumerate(layer_gradients(net, params, batch)):

        def moved(distance: float, layer: int = layer, norm: Any = norm) -> jax.Array:
            layers = list(cell_params(params)["layers"])
            layers[layer] = jax.tree.map(
                lambda weight, slope: weight + distance * slope / norm, layers[layer], gradients[layer]
            )
            inner = {"recurrent": {"cell": cell_params(params) | {"layers": tuple(layers)}}}
            return loss({"params": params["params"] | inner})

        np.testing.assert_allclose((moved(1e-2) - moved(-1e-2)) / 2e-2, norm, rtol=2e-2)
    xs = jax.random.normal(jax.random.key(1), (5, 3, 4))
    outputs = outputs_by_layer(net.stack(), cell_params(params), xs, len(net.stack().layers))
    np.testing.assert_allclose(outputs[-1], unroll(net.stack(), cell_params(params), xs)[1], rtol=1e-5)
    found = measure(net, params, batch)
    assert [len(found[name]) for name in ("gradient", "residual", "rank")] == [2, 3, 3]
    assert np.all((found["residual"] > 0) & (found["residual"] <= 1))


def test_the_best_rate_is_chosen_on_validation() -> None:
    def found(layers: int, rate: float, valid: float, test: float) -> Found:
        arrays = {"rate": np.array(rate), "valid": np.array(valid), "test": np.array(test)}
        return Found("equal_time", "lstm", layers, arrays)

    rows = [
        found(1, 0.1, 2.0, 2.1),
        found(1, 0.2, 1.9, 2.2),
        found(4, 0.1, 1.5, 1.6),
        found(6, 0.1, np.inf, np.inf),
    ]
    best = best_rates(rows)
    assert [float(one.arrays["test"]) for one in best] == [2.2, 1.6, np.inf]
    (line,) = gains(best)
    assert "+0.600 nats from 1 to 4 layers, -inf from the best of these to 6" in line


@pytest.mark.full
def test_what_a_run_leaves(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    sizes: dict[str, float] = {"parameters": 900, "steps": 3, "seconds": 0.01, "window": 6}
    given = (word for name, value in sizes.items() for word in (f"--{name}", value))
    options = (
        *given,
        "--batch-size",
        4,
        "--kinds",
        "lstm",
        "--depths",
        1,
        2,
        "--devices",
        1,
        "--data.dir",
        text,
    )
    assert command("depth", *options, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    net = results["equal_time|lstm|2|0.004"]
    assert net["steps"] >= 10
    assert results["equal_parameters|lstm|2|0.004"]["steps"] == 3
    assert len(net["before|gradient"]) == 2
    assert len(net["after|residual"]) == 3
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"loss", "gradients", "token_rank"}
    table, kept = (folder / "table.txt").read_text(), folder / "arrays" / "depth.npz"
    kept.unlink()
    assert command("depth", *options, "--resume", folder) == 0  # of the nets that are there
    assert (folder / "table.txt").read_text() == table
    assert kept.exists()


def test_refuses(refused: Callable[..., None]) -> None:
    refused("--depths must be a whole number of at least 1, but is 0", "depth", "--depths", 0)
    refused("--window must be a whole number of at least 2, but is 1", "depth", "--window", 1)
    refused("--seconds must be", "depth", "--seconds", 0)
