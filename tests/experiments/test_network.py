"""The network around a cell: what the options build, that the method arrives, and where an answer is read out."""

from functools import partial
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.network import MethodOption, NetworkConfig, supported_methods
from models import (
    CELLS,
    GRU,
    LSTM,
    Backward,
    Bidirectional,
    Dropout,
    Elman,
    Scan,
    SelfAttention,
    Stacked,
    Transformer,
    unroll,
)
from models.recurrence.methods import METHODS_BY_NAME
from models.recurrence.unroll import unroll_with_info
from tests.experiments.command import SMALL, command, newest_checkpoint, saved_state

T, B, D, H = 5, 3, 2, 4
MASK = jnp.arange(T)[:, None] < jnp.array([5, 2, 3])[None]


def test_what_is_built() -> None:
    """One forward layer is the cell itself, so that its checkpoints have no other form."""
    assert NetworkConfig().build("gru", H) == GRU(H)
    assert NetworkConfig(direction="backward").build("gru", H) == Backward(GRU(H))
    assert NetworkConfig(depth=3).build("gru", H) == Stacked((GRU(H),) * 3)
    network = NetworkConfig(depth=2, direction="both", connections="dense", dropout=0.25)
    assert network.build("gru", H) == Stacked((Bidirectional(GRU(H)),) * 2, "dense", Dropout(0.25))
    assert network.describe("gru(reset=before)") == "gru reset=before, 2 layers, dense, both directions"
    assert NetworkConfig().describe("gru") == "gru"
    assert NetworkConfig(method="scan", checkpoint_every=7).way == Scan(7)


def test_attention_in_both_directions() -> None:
    """It is one layer that sees all steps: an output depends on later inputs, and has the size of one direction."""
    both = NetworkConfig(direction="both")
    assert both.build("transformer", H) == Transformer(H, causal=False)
    assert both.build("self_attention(heads=2)", H) == SelfAttention(H, 2, causal=False)
    mixed = "stacked((lstm, self_attention(heads=2)))"
    layer = Stacked((LSTM(H), SelfAttention(H, 2)))
    assert NetworkConfig(depth=2).build(mixed, H) == Stacked((layer, layer))
    assert both.build(mixed, H) == Bidirectional(layer)
    assert NetworkConfig(direction="backward").build("transformer", H) == Backward(Transformer(H))
    encoder = both.build("transformer(layers=1)", H)
    xs = jax.random.normal(jax.random.key(0), (T, H))
    params = jax.jit(encoder.init, static_argnums=1)(jax.random.key(1), H)
    ys = [unroll(encoder, params, given)[1] for given in (xs, xs.at[-1, 0].add(1.0))]
    assert ys[0].shape == (T, H)
    assert float(jnp.abs(ys[0][0] - ys[1][0]).max()) > 1e-4


def test_ways() -> None:
    """By the form of each cell; with a full matrix in parallel only where nothing is masked."""
    assert get_args(MethodOption) == ("auto", *METHODS_BY_NAME)
    for name, expected in {
        "lstm": ["scan", "fused", "newton"],
        "lru": ["scan", "associative", "newton"],
        "unitary": ["scan", "newton"],
    }.items():
        assert supported_methods(CELLS[name](H)) == expected  # pyright: ignore[reportCallIssue]
    assert supported_methods(Stacked((LSTM(H), GRU(H)))) == ["scan", "fused", "newton"]
    assert supported_methods(Stacked((LSTM(H), SelfAttention(H)))) == []
    linear = Elman(H, activation="identity")
    assert "associative" not in supported_methods(linear)
    assert "associative" in supported_methods(linear, masked=False)


@pytest.mark.parametrize("way", ["newton", Scan(2)])
def test_method_arrives(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a classifier and in a tagger, whatever is built around the cell."""
    network = (
        NetworkConfig(depth=2, direction="both", method="newton")
        if way == "newton"
        else NetworkConfig(method="scan", checkpoint_every=2)
    )
    seen = []

    def noted(*arguments: Any, method: Any, **options: Any) -> Any:
        seen.append(method)
        return unroll_with_info(*arguments, method=method, **options)

    monkeypatch.setattr("models.recurrence.unroll.unroll_with_info", noted)
    layer = network.build("elman", H)
    for model in (network.classifier(layer, 1), network.tagger(layer, 1)):
        seen.clear()
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((T, B, D)))
        # Calls that only ask for a shape take "auto".
        assert {method for method in seen if method != "auto"} == {way}


def test_read_out_where_all_is_read() -> None:
    """Backward is forward on the sequence turned round; both is the two side by side; padding anywhere."""
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    turned, turned_mask = xs[::-1], MASK[::-1]
    network = NetworkConfig()
    forward = network.classifier(network.build("elman", H), 3)
    variables = forward.init(jax.random.key(0), xs)

    network = NetworkConfig(direction="backward")
    backward = network.classifier(network.build("elman", H), 3)
    np.testing.assert_allclose(
        jnp.asarray(backward.apply(variables, xs, mask=MASK)),
        jnp.asarray(forward.apply(variables, turned, mask=turned_mask)),
        rtol=1e-6,
    )

    network = NetworkConfig(direction="both")
    both = network.classifier(network.build("elman", H), 3)
    params: Any = variables["params"]
    cell, readout = params["recurrent"]["cell"], params["readout"]
    doubled = {"kernel": jnp.concatenate([readout["kernel"], 2 * readout["kernel"]]), "bias": readout["bias"]}
    merged = {"params": {"recurrent": {"cell": {"forward": cell, "backward": cell}}, "readout": doubled}}
    bias = readout["bias"][None]
    expected = jnp.asarray(forward.apply(variables, xs, mask=MASK)) - bias
    expected += 2 * (jnp.asarray(backward.apply(variables, xs, mask=MASK)) - bias) + bias
    np.testing.assert_allclose(jnp.asarray(both.apply(merged, xs, mask=MASK)), expected, rtol=1e-5, atol=1e-6)


GROWING = '''
from dataclasses import dataclass

import jax.numpy as jnp

from models import Cell


@dataclass(frozen=True)
class Growing(Cell):
    """Gives its input and its state, so each layer has more outputs than the one below."""

    hidden_size: int

    def init(self, key, input_size):
        return {"kernel": jnp.ones((input_size, self.hidden_size))}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden_size))

    def step(self, weights, state, drive):
        h = jnp.tanh(state + drive @ weights["kernel"])
        return h, jnp.concatenate([drive, h], axis=-1)
'''


def test_sizes_that_dont_fit(tmp_path: Path) -> None:
    path = tmp_path / "growing.py"
    path.write_text(GROWING)
    build = partial(NetworkConfig, depth=2)
    build(connections="dense").build(f"{path}:Growing", H)
    with pytest.raises(ValueError, match=r"a residual connection needs equal .* sizes, but layer 2 of 2"):
        build(connections="residual").build(f"{path}:Growing", H)


@pytest.mark.full
def test_deep_run(tmp_path: Path) -> None:
    """All options at once through the command line: the parameters that they ask for, trained."""
    options = ("--depth", 2, "--direction", "both", "--connections", "highway", "--dropout", 0.2)
    run = ("--cell", "min_gru", "--length", 6, "--method", "associative", *options, *SMALL)
    assert command("adding", *run, "--run-dir", tmp_path / "run") == 0
    names = set(newest_checkpoint(tmp_path / "run")[1])
    assert any("layers/1/backward" in name for name in names)
    state = {name: np.asarray(leaf) for name, leaf in saved_state(tmp_path / "run", 100).items()}
    (gate,) = [
        leaf for name, leaf in state.items() if name.endswith("gates/0/bias") and "opt_state" not in name
    ]
    assert gate.shape == (12,)
    assert (gate != -1).any()  # what it begins with


KINDS = ("unitary", "s5", "mlstm")  # one of each kind of parameters; a GRU is trained below
REST = [name for name in CELLS if name not in KINDS]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [cell if cell == "s5" else pytest.param(cell, marks=pytest.mark.full) for cell in [*KINDS, *REST]]
)
def test_every_cell_trains(cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps change every parameter of each cell that the command line knows."""
    monkeypatch.setattr("experiments.run_task.draw_task", lambda *_: [])  # slow, and tested elsewhere
    monkeypatch.setattr("experiments.run_task.draw_task", lambda *_: [])
    options = ("--length", 5, "--hidden-size", 8, "--batch-size", 3, "--save-every", 1, "--chunk", 1)
    folder = tmp_path / "run"
    assert command("adding", "--cell", cell, *options, "--steps", 2, "--run-dir", folder) == 0
    first, second = saved_state(folder, 1), saved_state(folder, 2)
    moved = {name for name in first if not np.array_equal(first[name], second[name])}
    still = {name for name in first if name.startswith("params/") and name not in moved}
    still = {name for name in still if not name.endswith("averages/seen")}  # which steps there have been
    assert moved
    assert not still, f"not trained: {still}"


@pytest.mark.full
@pytest.mark.parametrize("name", ["gradients", "copy_memory", "digits", "temporal_order"])
def test_deep_runs_of_the_others(name: str, tmp_path: Path) -> None:
    options = ["--depth", 2, "--connections", "residual", "--hidden-size", 4, "--batch-size", 4, "--steps", 4]
    if name == "gradients":
        options += ["--cells", "gru", "--images", 4, "--trajectories", 1]
    else:
        options += ["--cell", "gru", "--direction", "both"]
    assert command(name, *options, "--run-dir", tmp_path / "run") == 0
    if name == "gradients":  # the state of both layers
        with np.load(tmp_path / "run/arrays/eigenvalues.npz") as arrays:
            assert arrays["gru|after"].shape == (64, 8)
