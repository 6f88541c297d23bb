"""Uses of the parameters one by one: against sums known by hand, NumPy's outer products, and autodiff with
copies."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import half_life, lag_quantiles, parameter_gradient_by_lag
from models import LRU, LSTM, Cell, Elman, Identity, OrthogonalRNN
from models.cell import Array

T, D, H = 7, 2, 3


def loss(final: Any, ys: Array) -> Array:
    """Reads every output, each with another weight, and the final state."""
    weight = jnp.cos(jnp.arange(T * H, dtype=ys.dtype)).reshape(T, *(1,) * (ys.ndim - 2), H)
    return jnp.sum(weight * ys**2) + sum(jnp.sum(jnp.sin(jnp.abs(leaf))) for leaf in jax.tree.leaves(final))


def with_copies(cell: Cell, params: Any, xs: Array) -> Any:
    """∂L/∂θ_t with a copy of the parameters for every step, for one example: leaves `[T, ...]`."""

    def total(copies: Any) -> Array:
        state, ys = cell.initial_state(params), []
        for t in range(T):
            weights = cell.prepare(jax.tree.map(lambda leaf, t=t: leaf[t], copies))
            state, y = cell.step(weights, state, cell.drive(weights, xs[t]))
            ys.append(y)
        return loss(state, jnp.stack(ys))

    return jax.grad(total)(jax.tree.map(lambda leaf: jnp.stack([leaf] * T), params))


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(LSTM(H), id="lstm"),
        pytest.param(OrthogonalRNN(H), id="orthogonal", marks=pytest.mark.full),
        pytest.param(LRU(H), id="complex", marks=pytest.mark.full),
    ],
)
@pytest.mark.usefixtures("x64")
def test_copies(cell: Cell) -> None:
    """Each step given its own copy, by autodiff of a plain loop; two batch axes, in chunks that don't divide
    them."""
    params = cell.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (T, 2, 3, D))
    found = jax.jit(lambda p, xs: parameter_gradient_by_lag(cell, p, xs, loss, chunk=4))(params, xs)
    paths = [path for path, _ in jax.tree.leaves_with_path(params)]
    assert list(found) == [jax.tree_util.keystr(path, simple=True, separator=".") for path in paths]
    copies = jax.jit(jax.vmap(lambda xs: with_copies(cell, params, xs), in_axes=1))(xs.reshape(T, 6, D))
    for block, copy in zip(found.values(), jax.tree.leaves(copies), strict=True):
        expected = np.linalg.norm(np.asarray(copy).reshape(6, T, -1), axis=-1).T[::-1]
        np.testing.assert_allclose(block.reshape(T, 6), expected, rtol=1e-9, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_outer_products_in_numpy() -> None:
    """Elman, one example, loss ⟨v, h_T⟩: ‖∂L/∂R_t‖ = ‖h_{t−1}‖ ‖δ_t‖ with δ_t = (1 − h_t²) ∘ λ_t, λ_{t−1} = R
    δ_t."""
    random = np.random.default_rng(0)
    p = {
        "kernel": random.normal(size=(D, H)),
        "recurrent": random.normal(size=(H, H)),
        "bias": random.normal(size=H),
    }
    xs, v = random.normal(size=(T, D)), random.normal(size=H)
    states = [np.zeros(H)]
    for x in xs:
        states.append(np.tanh(x @ p["kernel"] + states[-1] @ p["recurrent"] + p["bias"]))
    expected: dict[str, list[float]] = {"bias": [], "kernel": [], "recurrent": []}
    gradient = v
    for t in range(T, 0, -1):
        delta = (1 - states[t] ** 2) * gradient
        size = float(np.linalg.norm(delta))
        expected["bias"].append(size)
        expected["kernel"].append(size * float(np.linalg.norm(xs[t - 1])))
        expected["recurrent"].append(size * float(np.linalg.norm(states[t - 1])))
        gradient = p["recurrent"] @ delta
    params = jax.tree.map(jnp.asarray, p)
    found = parameter_gradient_by_lag(Elman(H), params, jnp.asarray(xs), lambda final, ys: jnp.vdot(v, final))
    for name, norms in expected.items():
        np.testing.assert_allclose(found[name], norms, rtol=1e-12, atol=1e-300)


def test_small_gradients_are_not_lost() -> None:
    """h' = h/2 + x + b: the gradient in b as step T − k uses it is 2^−k, also where its square is no
    float32."""
    cell = Elman(1, activation="identity", recurrent_init=Identity(0.5))
    params = cell.init(jax.random.key(0), 1)
    found = jax.jit(
        lambda p, xs: parameter_gradient_by_lag(cell, p, xs, lambda final, ys: jnp.sum(final))["bias"]
    )(params, jnp.ones((100, 1)))
    np.testing.assert_allclose(found, 0.5 ** np.arange(100), rtol=1e-6)


def test_half_life() -> None:
    """Of known series, over examples by the median."""
    lags = np.arange(50.0)
    np.testing.assert_allclose(half_life(3 * 0.5 ** (lags / 7)), 7, rtol=1e-9)
    three = np.stack([0.5 ** (lags / 7), 0.5 ** (lags / 3), 5 * 0.5 ** (lags / 7)], axis=1)
    np.testing.assert_allclose(half_life(three), 7, rtol=1e-9)
    assert half_life(1.1**lags) == math.inf
    assert math.isnan(half_life(np.zeros(5)))


def test_lag_quantiles() -> None:
    values = np.arange(2 * 5, dtype=float).reshape(2, 5)[:, [3, 1, 4, 0, 2]]
    np.testing.assert_array_equal(lag_quantiles(values), [[1, 6], [2, 7], [3, 8]])
    np.testing.assert_array_equal(lag_quantiles(values.reshape(2, 5, 1), [0.0, 1.0]), [[0, 5], [4, 9]])
    with pytest.raises(ValueError, match="fractions"):
        lag_quantiles(values, [1.5])


def test_needs_a_chunk() -> None:
    with pytest.raises(ValueError, match="chunk"):
        parameter_gradient_by_lag(
            Elman(1), Elman(1).init(jax.random.key(0), 1), jnp.ones((2, 1)), lambda f, y: jnp.sum(f), chunk=0
        )
