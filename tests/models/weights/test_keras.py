"""Weights of Keras give what its documented equations give, and what Keras itself gives where it is installed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, Bidirectional, Cell, Elman, from_keras, to_keras, unroll
from models.cell import Array
from tests.models import drawn

T, B, D, H = 4, 2, 3, 5
CELLS: dict[str, Cell] = {
    "SimpleRNN": Elman(H, activation="relu"),
    "GRU after": GRU(H),
    "GRU before": GRU(H, reset="before"),
    "LSTM": LSTM(H),
}


def step(name: str, arrays: Any, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """One step as Keras documents it, in its own layout: gates z, r, h of a GRU and i, f, c, o of an LSTM."""
    kernel, recurrent, bias = arrays
    sigmoid = jax.nn.sigmoid
    if name == "SimpleRNN":
        return jax.nn.relu(x @ kernel + h @ recurrent + bias), c
    if name == "LSTM":
        i, f, g, o = jnp.split(x @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c
    first, second = bias if bias.ndim == 2 else (bias, jnp.zeros_like(bias))
    x_z, x_r, x_h = jnp.split(x @ kernel + first, 3, axis=-1)
    r_z, r_r, r_h = jnp.split(h @ recurrent + second, 3, axis=-1)
    z, r = sigmoid(x_z + r_z), sigmoid(x_r + r_r)
    inner = r * r_h if name == "GRU after" else (r * h) @ recurrent[:, 2 * H :]
    return z * h + (1 - z) * jnp.tanh(x_h + inner), c


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.usefixtures("x64")
def test_documented_equations(name: str) -> None:
    """Outputs, and gradients in Keras' own arrays."""
    cell, rng = CELLS[name], np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=leaf.shape)) for leaf in to_keras(cell, drawn.parameters(cell, D))]
    xs = jnp.asarray(rng.normal(size=(T, B, D)))
    weights = jnp.asarray(rng.normal(size=(T, B, H)))

    def documented(arrays: Any) -> tuple[Array, Array]:
        def one(state: Any, x: Array) -> tuple[Any, Array]:
            h, c = step(name, arrays, x, *state)
            return (h, c), h

        with jax.numpy_rank_promotion("allow"):
            _, ys = jax.lax.scan(one, (jnp.zeros((B, H)), jnp.zeros((B, H))), xs)
        return jnp.sum(weights * ys), ys

    def ours(arrays: Any) -> tuple[Array, Array]:
        _, ys = unroll(cell, from_keras(cell, arrays), xs)
        return jnp.sum(weights * ys), ys

    found, expected = (jax.jit(jax.grad(run, has_aux=True))(arrays) for run in (ours, documented))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.fixture
def keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Keras on JAX, which it takes where its backend is named, and whose ranks it promotes."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with jax.numpy_rank_promotion("allow"):
        yield pytest.importorskip("keras", reason="needs Keras: make test-peers")


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of NumPy, by Keras' variables
@pytest.mark.parametrize("name", [*CELLS, "Bidirectional"])
def test_agrees_with_keras(keras: Any, name: str) -> None:
    """Its weights in ours, and ours in it; outputs of both."""
    layers = keras.layers
    made: dict[str, tuple[Any, Cell]] = {
        "SimpleRNN": (layers.SimpleRNN(H, activation="relu", return_sequences=True), CELLS["SimpleRNN"]),
        "GRU after": (layers.GRU(H, return_sequences=True), CELLS["GRU after"]),
        "GRU before": (layers.GRU(H, reset_after=False, return_sequences=True), CELLS["GRU before"]),
        "LSTM": (layers.LSTM(H, return_sequences=True), CELLS["LSTM"]),
        "Bidirectional": (
            layers.Bidirectional(layers.LSTM(H, return_sequences=True)),
            Bidirectional(LSTM(H)),
        ),
    }
    layer, cell = made[name]
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(T, B, D)).astype("float32")
    layer.build((B, T, D))
    params = drawn.parameters(cell, D)
    layer.set_weights(to_keras(cell, params))
    expected = np.asarray(layer(xs.swapaxes(0, 1))).swapaxes(0, 1)  # Keras reads [B, T, D]
    np.testing.assert_allclose(unroll(cell, params, jnp.asarray(xs))[1], expected, rtol=0, atol=2e-6)
    back = from_keras(cell, layer)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_settings_that_differ_are_refused(keras: Any) -> None:
    layers = keras.layers
    for layer, cell, said in (
        (layers.SimpleRNN(H), CELLS["SimpleRNN"], r"activation='tanh', but Elman\(.* has 'relu'"),
        (layers.GRU(H, reset_after=False), GRU(H), r"reset_after=False, but GRU\(.* has True"),
        (
            layers.LSTM(H, recurrent_activation="hard_sigmoid"),
            LSTM(H),
            "has recurrent_activation='hard_sigmoid'",
        ),
        (layers.Bidirectional(layers.GRU(H), "sum"), Bidirectional(GRU(H)), "merge_mode='sum'"),
    ):
        layer.build((B, T, D))
        with pytest.raises(ValueError, match=said):
            from_keras(cell, layer)
