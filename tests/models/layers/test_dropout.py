"""Dropout: of what, when, how much, and staying the same through a sequence where it should."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, Elman, unroll
from models.cell import Array
from models.layers.bidirectional import Bidirectional
from models.layers.dropout import Dropout, RecurrentDropout, VariationalDropout
from models.layers.stacked import Stacked
from tests.models import drawn

pytestmark = pytest.mark.slow

T, B, D, H = 6, 3, 2, 4
KEY = jax.random.key(5)
IDENTITY = Elman(H, activation="identity")
run = jax.jit(unroll, static_argnums=0, static_argnames=("method", "train"))


@pytest.mark.parametrize("kind", [Dropout, VariationalDropout])
@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_share_and_mean(kind: type[Dropout], rate: float) -> None:
    """A share p is zero, within 5 standard deviations; the rest is 1/(1 − p) times what it was."""
    shape = (20, 50, 40)
    found = np.asarray(kind(rate)(jnp.full(shape, 3.0), KEY))
    np.testing.assert_allclose(found[found != 0], 3 / (1 - rate), rtol=1e-6)
    independent = 50 * 40 if kind is VariationalDropout else 20 * 50 * 40
    assert abs(np.mean(found == 0) - rate) < 5 * np.sqrt(rate * (1 - rate) / independent)
    through_time = np.all(found == found[:1], axis=0)
    assert np.all(through_time) == (kind is VariationalDropout)
    assert np.any(found[0, 0] != found[0, 1])  # each example has its own


def pass_through(dropout: Dropout | None, layers: int = 2) -> tuple[Stacked, Any]:
    """A stack whose every layer gives out what it reads: outputs are the products of the masks."""
    stack = Stacked((IDENTITY,) * layers, dropout=dropout)
    one = {"kernel": jnp.eye(H), "recurrent": jnp.zeros((H, H)), "bias": jnp.zeros(H)}
    return stack, {"layers": (one,) * layers}


@pytest.mark.parametrize("kind", [pytest.param(Dropout, marks=pytest.mark.full), VariationalDropout])
def test_falls_between_layers_in_training_only(kind: type[Dropout]) -> None:
    xs = jnp.ones((T, B, H))
    stack, params = pass_through(kind(0.5))
    np.testing.assert_array_equal(run(stack, params, xs, key=KEY)[1], xs)
    ys = np.asarray(run(stack, params, xs, key=KEY, train=True)[1])
    assert set(np.unique(ys)) == {0.0, 2.0}
    assert np.all(ys == ys[:1]) == (kind is VariationalDropout)
    np.testing.assert_array_equal(run(stack, params, xs, key=KEY, train=True)[1], ys)
    other = run(stack, params, xs, key=jax.random.key(6), train=True)[1]
    assert np.any(other != ys)
    # Not before the first layer, nor after the last, which would make 8 or 16 of it; and not the same twice.
    three, of_three = pass_through(kind(0.5), layers=3)
    assert set(np.unique(run(three, of_three, xs, key=KEY, train=True)[1])) == {0.0, 4.0}


@pytest.mark.parametrize("connection", ["residual", "highway"])
def test_what_a_connection_carries_is_not_dropped(connection: Any) -> None:
    """y = 1 + m/(1 − p) for the sum, (1 − t) 1 + t m/(1 − p) for the highway: never zero."""
    stack, params = pass_through(Dropout(0.5))
    stack = Stacked(stack.layers, connection, stack.dropout)
    if connection == "highway":
        params["gates"] = ({"kernel": jnp.zeros((H, H)), "bias": jnp.zeros(H)},)
    ys = run(stack, params, jnp.ones((T, B, H)), key=KEY, train=True)[1]
    assert set(np.unique(ys)) == ({1.0, 3.0} if connection == "residual" else {0.5, 1.5})


@pytest.mark.usefixtures("x64")
def test_variational_steps_are_the_sequence() -> None:
    """In training too: same key, same masks; between layers and within the recurrence."""
    stack = Stacked(
        (RecurrentDropout(LSTM(H), 0.4), RecurrentDropout(GRU(H), 0.4)), "highway", VariationalDropout(0.4)
    )
    params = drawn.parameters(stack, D)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    final, ys = run(stack, params, xs, key=KEY, train=True)
    weights, state = (
        stack.prepare(params, key=KEY, train=True, batch_shape=(B,)),
        stack.initial_state(params, (B,)),
    )
    step = jax.jit(lambda weights, state, x: stack.step(weights, state, stack.drive(weights, x)))
    for x, expected in zip(xs, ys, strict=True):
        state, y = step(weights, state, x)
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
    for found, expected in zip(jax.tree.leaves(state), jax.tree.leaves(final), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert np.any(ys != run(stack, params, xs)[1])


@pytest.mark.usefixtures("x64")
def test_recurrent_dropout_is_a_smaller_matrix() -> None:
    """A mask of the rows of R: h_t = tanh(x W + (m ∘ h) R / (1 − p)) = tanh(x W + h (diag(m) R / (1 − p)))."""
    cell = RecurrentDropout(Elman(H), 0.5)
    params = drawn.parameters(cell, D)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    mask = np.asarray(cell.prepare(params, key=KEY, train=True, batch_shape=(B,))["mask"])
    assert mask.shape == (B, H)
    assert set(np.unique(mask)) == {0.0, 2.0}

    def loss(params: Any, b: int) -> tuple[Array, Array]:
        ys = run(cell, params, xs, key=KEY, train=True)[1][:, b]
        return jnp.sum(jnp.sin(ys)), ys

    def plain(params: Any, b: int) -> tuple[Array, Array]:
        matrix = jnp.asarray(np.diag(mask[b])) @ params["recurrent"]
        ys = run(Elman(H), params | {"recurrent": matrix}, xs[:, b])[1]
        return jnp.sum(jnp.sin(ys)), ys

    for b in range(2):
        gradient, ys = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(params, b)
        expected_gradient, expected = jax.jit(jax.grad(plain, has_aux=True), static_argnums=1)(params, b)
        np.testing.assert_allclose(ys, expected, rtol=1e-12)
        for name, leaf in expected_gradient.items():
            np.testing.assert_allclose(gradient[name], leaf, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(run(cell, params, xs, key=KEY)[1], run(Elman(H), params, xs)[1])


@pytest.mark.usefixtures("x64")
def test_an_lstm_keeps_its_memory() -> None:
    """c goes on undropped: with the forget gate open and nothing let in, it is what it was."""
    cell = RecurrentDropout(LSTM(H, forget_bias=50.0), 0.5)
    params = jax.tree.map(jnp.zeros_like, drawn.parameters(cell, D))
    params["bias"] = params["bias"].at[H : 2 * H].set(50.0)
    state = jax.tree.map(jnp.ones_like, cell.initial_state(params, (B,)))
    final, _ = run(cell, params, jnp.ones((T, B, D)), state, key=KEY, train=True)
    np.testing.assert_allclose(final.c, np.ones((B, H)), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_fused_agrees_with_scan() -> None:
    """The wrapped cell keeps the product form, so that the fast way serves it."""
    for inner in (Elman(H), GRU(H)):
        cell = RecurrentDropout(inner, 0.5)
        assert (cell.additive, cell.elementwise) == (inner.additive, inner.elementwise)
        params = drawn.parameters(cell, D)
        xs = jax.random.normal(jax.random.key(1), (T, B, D))

        def loss(params: Any, method: Any, cell: Any = cell, xs: Array = xs) -> Array:
            return jnp.sum(jnp.sin(run(cell, params, xs, key=KEY, train=True, method=method)[1]))

        gradient = jax.jit(jax.grad(loss), static_argnums=1)
        found, expected = (gradient(params, method) for method in ("fused", "scan"))
        for name, leaf in expected.items():
            np.testing.assert_allclose(found[name], leaf, rtol=1e-10, atol=1e-12)


def test_each_direction_drops_on_its_own() -> None:
    """On a sequence that reads the same both ways equal cells agree, but for their masks."""
    layer = Bidirectional(RecurrentDropout(Elman(H), 0.5))
    params = drawn.parameters(layer, D, scale=0.5)
    params = {"forward": params["forward"], "backward": params["forward"]}
    xs = jnp.ones((T, D))

    def halves(**options: Any) -> list[Array]:
        return jnp.split(run(layer, params, xs, **options)[1], 2, axis=-1)

    forward, backward = halves()
    np.testing.assert_allclose(forward, backward[::-1], rtol=1e-6)
    forward, backward = halves(key=KEY, train=True)
    assert np.any(np.abs(forward - backward[::-1]) > 1e-3)


def test_errors() -> None:
    for rate in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            Dropout(rate)
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        RecurrentDropout(LSTM(2), 1.5)
    with pytest.raises(ValueError, match="product form"):
        RecurrentDropout(GRU(2, reset="before"), 0.5)
    stack, params = pass_through(Dropout(0.5))
    with pytest.raises(ValueError, match=r"needs a key.*unroll\(key=…\)"):
        unroll(stack, params, jnp.ones((T, H)), train=True)
    cell = RecurrentDropout(Elman(2), 0.5)
    with pytest.raises(ValueError, match="needs a key"):
        unroll(cell, drawn.parameters(cell, D), jnp.ones((T, D)), train=True)
    with pytest.raises(ValueError, match="new units at every step"):
        stack.prepare(params, key=KEY, train=True)
    # A rate of zero draws nothing and needs nothing.
    stack, params = pass_through(Dropout(0.0))
    np.testing.assert_array_equal(unroll(stack, params, jnp.ones((T, H)), train=True)[1], np.ones((T, H)))
