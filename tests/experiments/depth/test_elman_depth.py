"""Depth: the digits that are read, gradients of layers against differences, and what a small run leaves."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from data import digits
from experiments.depth.elman_depth import digit_rows, held_out_rows, layer_gradients
from models import Elman, SequenceClassifier, Stacked
from tests.experiments.command import arrays_bytes, command

SMALL = ("elman_depth", "--layers", 2, "--seeds", 2, "--hidden-size", 3, "--batch-size", 4, "--steps", 5)


def test_digits_by_row() -> None:
    """The rows are those of the images, and nothing held out is trained on."""
    batch = digit_rows(jax.random.key(0), 20)
    train = np.asarray(digits("train").inputs)[:, :, 0]
    for image in np.asarray(batch.inputs).swapaxes(0, 1).reshape(20, 64):
        assert (train == image).all(1).any()
    held = held_out_rows(jax.random.key(0), 3)
    assert held.inputs.shape == (8, 540, 8)
    np.testing.assert_array_equal(held.inputs[:, 0].reshape(64), digits("validation").inputs[0, :, 0])


@pytest.mark.slow
def test_layer_gradients_against_differences() -> None:
    """The norm of central differences of the mean cross entropy in every weight of a layer."""
    model, key = SequenceClassifier(Stacked((Elman(2), Elman(2))), 10), jax.random.key(3)
    batch = digit_rows(jax.random.key(0, impl="threefry2x32"), 100)
    params: Any = model.init(key, batch.inputs, mask=batch.mask)
    cell = params["params"]["recurrent"]["cell"]

    def loss(layer: int, weights: jax.Array, unravel: Callable) -> jax.Array:
        layers = [unravel(weights) if i == layer else own for i, own in enumerate(cell["layers"])]
        inner = params["params"] | {"recurrent": {"cell": cell | {"layers": type(cell["layers"])(layers)}}}
        logits = jax.nn.log_softmax(jnp.asarray(model.apply({"params": inner}, batch.inputs)))
        return -jnp.mean(logits[jnp.arange(100), batch.targets])

    for layer, found in enumerate(layer_gradients(model, key)):
        weights, unravel = ravel_pytree(cell["layers"][layer])
        shifts = 1e-2 * jnp.eye(len(weights))
        at = jax.jit(jax.vmap(partial(loss, layer, unravel=unravel)))
        differences = (at(weights[None] + shifts) - at(weights[None] - shifts)) / 2e-2
        np.testing.assert_allclose(found, np.linalg.norm(differences), rtol=1e-2)


@pytest.mark.slow
def test_what_a_run_leaves(tmp_path: Path) -> None:
    """The results list the numbers of every seed; a depth that is lost is trained again, with the same bits."""
    finished, folder = tmp_path / "finished", tmp_path / "run"
    assert command(*SMALL, "--run-dir", finished) == 0
    results = json.loads((finished / "results.json").read_text())
    for layers in (1, 2):
        with np.load(finished / "arrays" / f"layers_{layers}.npz") as arrays:
            row = results[str(layers)]
            assert row["losses"] == arrays["held_out"].tolist()
            assert row["loss"] == np.median(arrays["held_out"])
            assert row["first_layer"] == arrays["first_layer"].tolist()
    assert results["1"]["first_layer"] == results["1"]["last_layer"]
    assert {path.name for path in (finished / "figures").glob("*.png")} == {"loss.png", "gradients.png"}
    shutil.copytree(finished, folder)
    (folder / "arrays" / "layers_2.npz").unlink()
    kept = (folder / "arrays" / "layers_1.npz").stat().st_mtime_ns
    assert command(*SMALL, "--resume", folder) == 0
    assert (folder / "arrays" / "layers_1.npz").stat().st_mtime_ns == kept
    assert arrays_bytes(folder) == arrays_bytes(finished)
    for path in ("results.json", "table.txt", "figures/loss.png"):
        assert (folder / path).read_bytes() == (finished / path).read_bytes()
