"""Gradients by lag against products of closed-form Jacobians and central differences of NumPy loops."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import gradient_by_lag, log_slope, state_gradients
from models import GRU, LSTM, Cell, Elman, Identity, LSTMState
from models.cell import Array
from tests.models import loops

T, D, H = 6, 2, 3
READOUT = np.cos(np.arange(T * H)).reshape(T, H)  # another weight for every output
LAST = np.array([1.0, -2.0, 0.5])  # and for the final h


def example(cell: Cell, batch: tuple[int, ...] = (), seed: int = 5) -> tuple[Any, np.ndarray, loops.State]:
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: cell.init(key, D), jax.random.key(0))
    p = {name: rng.normal(size=leaf.shape) for name, leaf in shapes.items()}
    count = 2 if isinstance(cell, LSTM) else 1
    return p, rng.normal(size=(T, *batch, D)), tuple(rng.normal(size=(*batch, H)) for _ in range(count))


def hidden(final: Any) -> Array:
    return final.h if isinstance(final, LSTMState) else final


def loss(final: Any, ys: Array) -> Array:
    """A sum over outputs, final state and, where there is one, the batch."""
    readout = READOUT.reshape(T, *(1,) * (ys.ndim - 2), H)
    return jnp.sum(ys * readout) + jnp.sum(hidden(final) * LAST.reshape(*(1,) * (ys.ndim - 2), H))


def loss_of_the_rest(step: loops.Step, p: Any, xs: np.ndarray, state: loops.State, t: int) -> float:
    """Returns what of the loss comes after the state at time t, as a function of that state."""
    final, ys = loops.run(step, p, xs[t:], state)
    return float(np.sum(ys * READOUT[t:]) + np.sum(final[0] * LAST))


def states_along(step: loops.Step, p: Any, xs: np.ndarray, state: loops.State) -> list[loops.State]:
    """s_0 … s_{T−1}."""
    found = [state]
    for x in xs[:-1]:
        found.append(step(p, found[-1], x))
    return found


def as_jax(cell: Cell, p: Any, xs: np.ndarray, state: loops.State) -> tuple[Any, Array, Any]:
    params, leaves = jax.tree.map(jnp.asarray, (p, state))
    return params, jnp.asarray(xs), LSTMState(*leaves) if isinstance(cell, LSTM) else leaves[0]


def measure(cell: Cell, *given: Any) -> np.ndarray:
    return np.asarray(jax.jit(lambda p, xs, state: gradient_by_lag(cell, p, xs, loss, state))(*given))


def backward(p: Any, xs: np.ndarray, h: np.ndarray, *, wrong_order: bool = False) -> np.ndarray:
    """‖λ_{T−k}‖ for λ_{t} = J_{t+1}ᵀ (λ_{t+1} + w_{t+1}), λ_T = v; J = diag(1 − h²) Rᵀ. Elman, NumPy alone."""
    jacobians = []
    for x in xs:
        h = np.tanh(x @ p["kernel"] + h @ p["recurrent"] + p["bias"])
        jacobians.append(np.diag(1 - h**2) @ p["recurrent"].T)
    if wrong_order:
        jacobians.reverse()
    gradient, norms = LAST, []
    for t in range(T - 1, -1, -1):
        gradient = jacobians[t].T @ (gradient + READOUT[t])
        norms.append(np.linalg.norm(gradient))
    return np.array(norms)


@pytest.mark.usefixtures("x64")
def test_products_from_the_end() -> None:
    """The Jacobians of the last steps stand nearest to the loss; in the other order the numbers are others."""
    p, xs, state = example(Elman(H))
    found = measure(Elman(H), *as_jax(Elman(H), p, xs, state))
    np.testing.assert_allclose(found, backward(p, xs, state[0]), rtol=1e-12)
    other = backward(p, xs, state[0], wrong_order=True)
    assert np.all(np.abs(np.log(other / found)) > 0.01)


@pytest.mark.usefixtures("x64")
def test_batch_is_its_examples() -> None:
    """Two batch axes and the sum of the losses: each example's own norms."""
    p, xs, state = example(Elman(H), batch=(2, 2))
    found = measure(Elman(H), *as_jax(Elman(H), p, xs, state))
    assert found.shape == (T, 2, 2)
    for b in np.ndindex(2, 2):
        alone = backward(p, xs[(slice(None), *b)], state[0][b])
        np.testing.assert_allclose(found[(slice(None), *b)], alone, rtol=1e-12)


@pytest.mark.parametrize(
    ("cell", "step"),
    [(GRU(H), loops.gru_after), (GRU(H, reset="before"), loops.gru_before), (LSTM(H), loops.lstm)],
    ids=["gru-after", "gru-before", "lstm"],
)
@pytest.mark.usefixtures("x64")
def test_central_differences(cell: Cell, step: loops.Step) -> None:
    """Every entry of every gradient, and their norms over the whole state, (h, c) for an LSTM."""
    p, xs, state = example(cell)
    differences = [
        loops.central_differences(lambda t=t, leaves=s: loss_of_the_rest(step, p, xs, leaves, t), *s)
        for t, s in enumerate(states_along(step, p, xs, state))
    ]
    given = as_jax(cell, p, xs, state)
    gradients = jax.jit(lambda p, xs, state: state_gradients(cell, p, xs, loss, state))(*given)
    for k, leaf in enumerate(jax.tree.leaves(gradients)):
        np.testing.assert_allclose(leaf, [at_t[k] for at_t in differences], rtol=1e-7, atol=1e-9)
    norms = [np.linalg.norm(np.concatenate(at_t)) for at_t in differences[::-1]]
    np.testing.assert_allclose(measure(cell, *given), norms, rtol=1e-7)


@pytest.mark.usefixtures("x64")
def test_loss_of_the_final_state() -> None:
    """With no loss on the outputs, from the default initial state: the norm of J_{T−k+1}ᵀ … J_Tᵀ v."""
    p, xs, _ = example(Elman(H))
    params = jax.tree.map(jnp.asarray, p)

    @jax.jit
    def run(params: Any, xs: Array) -> Array:
        return gradient_by_lag(Elman(H), params, xs, lambda final, ys: jnp.vdot(LAST, final))

    found = run(params, jnp.asarray(xs))
    h, jacobians = np.zeros(H), []
    for x in xs:
        h = np.tanh(x @ p["kernel"] + h @ p["recurrent"] + p["bias"])
        jacobians.append(np.diag(1 - h**2) @ p["recurrent"].T)
    product, expected = np.eye(H), []
    for jacobian in jacobians[::-1]:
        product = product @ jacobian
        expected.append(np.linalg.norm(product.T @ LAST))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_an_output_is_not_a_way_from_the_state_that_it_came_with() -> None:
    """y_t goes out with s_t: a loss on y_1 alone reaches s_0, and no later state."""
    cell = Elman(1, activation="identity", recurrent_init=Identity(0.5))
    params = {"kernel": jnp.zeros((D, 1)), "recurrent": jnp.full((1, 1), 0.5), "bias": jnp.zeros(1)}

    @jax.jit
    def of_first_and_last(xs: Array) -> list[Array]:
        return [gradient_by_lag(cell, params, xs, lambda final, ys, t=t: jnp.sum(ys[t])) for t in (0, 3)]

    first, last = of_first_and_last(jnp.zeros((4, D)))
    np.testing.assert_array_equal(first, np.array([0, 0, 0, 0.5], np.float32))
    np.testing.assert_array_equal(last, np.array([0.5, 0.25, 0.125, 0.0625], np.float32))


def test_squares_are_not_lost() -> None:
    """In single precision 1e-30 squared is zero and 1e30 squared infinite; the norm is neither."""
    cell = Elman(4, activation="identity", recurrent_init=Identity(0.5))

    @jax.jit
    def run(size: Array) -> Array:
        params, xs = cell.init(jax.random.key(0), 1), jnp.zeros((5, 1))
        return gradient_by_lag(cell, params, xs, lambda final, ys: size * jnp.sum(final))

    for size in (1e-30, 1e30):
        found = run(jnp.asarray(size))
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(found, float), 2 * size * 0.5 ** np.arange(1, 6), rtol=1e-6)


def test_log_slope() -> None:
    """Exact on a geometric series, whatever its factor in front; zeros, NaN and infinity are left out."""
    lags = np.arange(40)
    for rate in (0.9, 0.5, 1.0, 1.3):
        np.testing.assert_allclose(log_slope(1e-5 * rate**lags), math.log(rate), rtol=1e-10, atol=1e-14)
    holes = 3.0 * 0.7**lags
    holes[[0, 5, 39]] = 0.0, np.nan, np.inf
    np.testing.assert_allclose(log_slope(holes), math.log(0.7), rtol=1e-10)
    single = jnp.asarray(2.0 * 0.8**lags, jnp.float32)
    np.testing.assert_allclose(log_slope(single), math.log(0.8), rtol=1e-6)


def test_log_slope_is_least_squares() -> None:
    norms = np.exp(np.random.default_rng(0).normal(size=12))
    expected = np.polyfit(np.arange(12), np.log(norms), 1)[0]
    np.testing.assert_allclose(log_slope(norms), expected, rtol=1e-10)


@pytest.mark.parametrize("norms", [[], [0.5], [0.0, 0.0, 0.0], [0.0, 0.3, 0.0], [np.nan, np.inf, 1.0]])
def test_log_slope_of_less_than_two_points(norms: list[float]) -> None:
    assert math.isnan(log_slope(np.array(norms)))
