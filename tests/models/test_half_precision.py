"""Sums over time in bfloat16: its own mantissa stops counting ones at 256, so that every sum is in float32."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    GRU,
    LRU,
    LSTM,
    Cell,
    Elman,
    LanguageModel,
    Scan,
    free_running,
    scheduled_sampling,
    summed_cross_entropy,
    teacher_forcing,
    unroll,
)
from models.cell import Array
from models.layers.pooling import mean_valid
from models.recurrence.truncated import truncated_value_and_gradient
from tests.models import loops

T, D = 2000, 2
COUNTING = Elman(4, activation="identity")
METHODS = ["scan", Scan(checkpoint_every=45), "fused", "associative", "newton"]


def in_bfloat16(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), tree)


def total(cell: Cell, method: Any = "scan") -> Any:
    """A sum over steps, and the state."""

    def loss(params: Any, state: Any, xs: Array) -> tuple[Array, Any]:
        final, ys = unroll(cell, params, xs, state, method=method)
        return jnp.sum(ys.astype(jnp.promote_types(ys.dtype, jnp.float32))), final

    return loss


def gradient(cell: Cell, params: Any, xs: Array, method: Any) -> Any:
    loss = total(cell, method)
    own = jax.jit(jax.grad(lambda p: loss(p, cell.initial_state(p, xs.shape[1:-1]), xs)[0]))
    return own(params)


def counting() -> tuple[Any, Array]:
    """h_t = x_t W + b with R = 0: ∂Σy/∂b is the number of steps."""
    params = COUNTING.init(jax.random.key(0), D)
    params = in_bfloat16(params | {"recurrent": jnp.zeros((4, 4))})
    return params, jnp.ones((T, D), jnp.bfloat16)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_gradient_counts_the_steps(method: Any) -> None:
    params, xs = counting()
    found = gradient(COUNTING, params, xs, method)
    assert found["bias"].dtype == jnp.bfloat16
    for name in ("bias", "kernel"):
        np.testing.assert_allclose(np.asarray(found[name], np.float64), T, rtol=4e-3)


@pytest.mark.parametrize("every", [1, 3])
def test_truncated_gradient_counts_the_steps(every: int) -> None:
    params, xs = counting()
    params |= {"kernel": 0 * params["kernel"], "bias": 0 * params["bias"] + 1}
    run = jax.jit(lambda *given: truncated_value_and_gradient(total(COUNTING), *given, every=every))
    value, found, _ = run(params, jnp.zeros(4, jnp.bfloat16), xs)
    assert value == 4 * T
    assert found["bias"].dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(found["bias"], np.float64), T, rtol=4e-3)


@pytest.mark.parametrize("way", ["teacher_forcing", "free_running", "scheduled_sampling"])
def test_gradient_of_a_decoder_counts_the_steps(way: str) -> None:
    """Of what the decoder's step, or what makes its next input, closes over."""
    inputs, key, zero = jnp.ones((T, 1), jnp.bfloat16), jax.random.key(0), jnp.zeros(1, jnp.bfloat16)

    def total(bias: Array) -> Array:
        def step(state: Array, x: Array) -> tuple[Array, Array]:
            return state, 0 * x + bias

        def feed(y: Array, key: Any) -> Array:
            return 0 * y

        match way:
            case "teacher_forcing":
                _, ys = teacher_forcing(step, zero, inputs)
            case "free_running":
                _, ys = free_running(step, zero, inputs[0], T, feed)
            case _:
                _, ys = scheduled_sampling(step, zero, inputs, key, 0.5, feed)
        return jnp.sum(ys.astype(jnp.float32))

    for gradient in (jax.grad(total), jax.jit(jax.grad(total))):
        found = gradient(jnp.ones(1, jnp.bfloat16))
        assert found.dtype == jnp.bfloat16
        np.testing.assert_allclose(np.asarray(found, np.float64), T, rtol=4e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "methods"),
    [
        (LSTM(3), ["scan", Scan(checkpoint_every=45), "fused", "newton"]),
        pytest.param(GRU(3), ["scan", "fused"], marks=pytest.mark.full),
        pytest.param(LRU(4), ["scan", "associative"], marks=pytest.mark.full),
    ],
    ids=["lstm", "gru", "lru"],
)
def test_gradient_is_that_of_float64(cell: Cell, methods: list[Any]) -> None:
    """To 2 % of its norm, by every method; the LSTM's bias, of one gate, also that of a NumPy loop."""
    params = in_bfloat16(cell.init(jax.random.key(0), D))
    xs = in_bfloat16(1 + 0.5 * jax.random.normal(jax.random.key(1), (T, D)))
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, xs))
    with jax.enable_x64(True):
        doubled = jax.tree.map(jnp.asarray, exact)
        expected = gradient(cell, doubled[0], doubled[1], "scan")
    if isinstance(cell, LSTM):
        by_loop = loop_derivative(*exact)
        np.testing.assert_allclose(expected["bias"][0], by_loop, rtol=1e-5)
    expected = flat(expected)
    for method in methods:
        found = flat(gradient(cell, params, xs, method))
        assert np.linalg.norm(found - expected) <= 0.02 * np.linalg.norm(expected), method


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def loop_derivative(params: Any, xs: np.ndarray) -> float:
    """∂Σy/∂b_0 of the LSTM by a central difference of the NumPy loop."""

    def moved(change: float) -> float:
        bias = params["bias"].copy()
        bias[0] += change
        return float(loops.run(loops.lstm, params | {"bias": bias}, xs, (np.zeros(3), np.zeros(3)))[1].sum())

    return (moved(1e-4) - moved(-1e-4)) / 2e-4


def test_softmax_sums_rows_in_single_precision() -> None:
    """2,000 rows that are alike: the loss is 2,000 ln V and b's gradient 2,000 (1/V − 1_t)."""
    n, v = 2000, 4
    hidden, kernel = jnp.ones((n, 2), jnp.bfloat16), jnp.zeros((2, v), jnp.bfloat16)
    bias, targets = jnp.zeros(v, jnp.bfloat16), jnp.zeros(n, jnp.int32)
    weights = jnp.ones(n, jnp.bfloat16)
    value, found = jax.value_and_grad(summed_cross_entropy, argnums=(1, 2))(
        hidden, kernel, bias, targets, weights
    )
    np.testing.assert_allclose(value, n * np.log(v), rtol=1e-6)
    for part in found:
        assert part.dtype == jnp.bfloat16
        rows = np.asarray(part, np.float64).reshape(-1, v)
        np.testing.assert_allclose(rows, np.tile([-1500, 500, 500, 500], (len(rows), 1)), rtol=4e-3)


def test_language_model_sums_tokens_in_single_precision() -> None:
    model = LanguageModel(COUNTING, 4, 2)
    tokens = jnp.zeros((T, 1), jnp.int32)
    params = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, jnp.bfloat16), model.init(jax.random.key(0), tokens)
    )
    value, _ = jax.jit(lambda p: model.apply(p, tokens, tokens, method="loss"))(params)  # type: ignore
    np.testing.assert_allclose(value, T * np.log(4), rtol=1e-6)


def test_mean_of_half_precision() -> None:
    """Float16 ends at 65,504 and bfloat16 stops at 256: the mean of 2,000 steps is that of each."""
    ys = jnp.full((T, 1, 2), 100.0, jnp.float16)
    found = mean_valid(ys)
    assert found.dtype == jnp.float16
    np.testing.assert_array_equal(found, 100)
    np.testing.assert_array_equal(mean_valid(ys.astype(jnp.bfloat16), jnp.ones((T, 1), bool)), 100)
