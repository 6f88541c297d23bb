"""Singular values of long products against exact answers, and against arithmetic of enough digits (mpmath)."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import gradient_by_lag, product_spectrum, step_jacobians
from models import GRU, LSTM, BasicGRU, Cell, Elman, Orthogonal

T = 200
LAGS = [1, 7, 60, 200]


def exact(jacobians: np.ndarray, lags: Sequence[int], digits: int) -> np.ndarray:
    """The definition, with so many digits that nothing is lost: form J_T … J_{T−k+1}, decompose, take logarithms.
    What is below the last thirty of the digits is zero."""
    rows = []
    with mpmath.workdps(digits):
        product, formed = mpmath.eye(jacobians.shape[1]), 0
        for lag in lags:
            for k in range(formed + 1, lag + 1):
                product = product * mpmath.matrix(jacobians[len(jacobians) - k].tolist())
            formed = lag
            values: Any = mpmath.svd_r(product, compute_uv=False)
            scale = max(values) * mpmath.mpf(10) ** (30 - digits)
            rows.append(
                sorted((float(mpmath.log(v)) if v > scale else -np.inf for v in values), reverse=True)
            )
    return np.array(rows)


def gaussian(seed: int, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(T, size, size)) / math.sqrt(size)


def orthogonal(seed: int, length: int = T, size: int = 6) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(length, size, size)))[0]


GRADED = np.diag(np.exp(np.linspace(0, -12, 6)))
JORDAN = 0.9 * np.eye(5) + np.diag(np.ones(4), 1)
HARD = {
    "gaussian": (gaussian(0), 400, 1e-11),
    "contracting": (0.05 * gaussian(1), 400, 1e-11),
    "expanding": (40 * gaussian(2), 400, 1e-11),
    "graded rows": (GRADED @ orthogonal(3), 1600, 1e-9),  # the smallest is below e^−1800
    "graded columns": (orthogonal(4) @ GRADED, 1600, 1e-9),
    "graded alone": (np.broadcast_to(GRADED, (T, 6, 6)), 1600, 1e-10),
    "jordan": (np.broadcast_to(JORDAN, (T, 5, 5)), 400, 1e-8),
    "jordan, transposed": (np.broadcast_to(JORDAN.T, (T, 5, 5)), 400, 1e-8),
    "turning, not normal": (np.broadcast_to(np.array([[0.9, 3.0], [-0.1, 0.9]]), (T, 2, 2)), 400, 1e-11),
    # About 2 T ε κ; how much of it is reached depends on the processor.
    "nearly singular": (orthogonal(5) @ np.diag([1, 1, 1, 1e-3, 1e-6, 1e-6]) @ orthogonal(6), 1600, 1e-7),
}


@pytest.mark.parametrize("name", HARD)
def test_against_enough_digits(name: str) -> None:
    """Every singular value, the smallest too, relatively: an error of 1e-9 in a logarithm is one of 1e-9 in it."""
    jacobians, digits, tolerance = HARD[name]
    expected = exact(jacobians, LAGS, digits)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(product_spectrum(jacobians, LAGS), expected, rtol=0, atol=tolerance)
    if name.startswith("graded "):
        assert expected[-1, -1] < -1800


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_five_thousand_orthogonal_steps(gain: float) -> None:
    """Every singular value is gain^k; neither 0.5^5000 nor 2^5000 is a floating-point number."""
    lags = [1, 1000, 5000]
    found = product_spectrum(gain * orthogonal(7, 5000, 4), lags)
    expected = np.array(lags)[:, None] * math.log(gain) * np.ones(4)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_five_thousand_steps_of_a_cell() -> None:
    """The same from a cell in single precision."""
    cell = Elman(4, activation="identity", recurrent_init=Orthogonal(0.5))
    jacobians = step_jacobians(cell, cell.init(jax.random.key(0), 1), jnp.zeros((5000, 1)))
    assert jacobians.dtype == jnp.float32
    found = product_spectrum(jacobians, [1, 5000])
    np.testing.assert_allclose(found[0], np.full(4, math.log(0.5)), rtol=1e-6)
    np.testing.assert_allclose(found[1], np.full(4, 5000 * math.log(0.5)), rtol=1e-6)


def zero_weights(cell: Cell, **biases: Any) -> Any:
    """All parameters zero but for those given."""
    shapes = jax.eval_shape(lambda key: cell.init(key, 1), jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes) | biases


@pytest.mark.parametrize("forget_bias", [1.0, 3.0, -2.0])
def test_lstm_without_weights(forget_bias: float) -> None:
    """∂c_t/∂c_{t−k} = σ(b)^k, in the Jacobians, their products and the gradient of a loss; h = c/2 near c = 0."""
    size, cell = 3, LSTM(3)
    bias = jnp.zeros((4, size)).at[1].set(forget_bias).reshape(-1)
    params, xs = zero_weights(cell, bias=bias), jnp.ones((100, 1))
    keep = 1 / (1 + math.exp(-forget_bias))
    jacobians = step_jacobians(cell, params, xs)
    np.testing.assert_allclose(
        jacobians[:, size:, size:], np.full((100, 1, 1), keep) * np.eye(size), rtol=1e-6
    )
    found = product_spectrum(jacobians)
    lags = np.arange(1, 101)
    expected = lags * math.log(keep) + math.log(math.hypot(1, 0.5))
    np.testing.assert_allclose(np.exp(found[:, :size] - expected[:, None]), np.ones((100, size)), rtol=1e-5)
    assert np.all(found[:, size:] == -np.inf)
    norms = np.asarray(gradient_by_lag(cell, params, xs, lambda final, ys: jnp.sum(final.c)))
    np.testing.assert_allclose(norms, math.sqrt(size) * keep**lags, rtol=1e-5, atol=1e-37)
    if forget_bias == 1.0:
        np.testing.assert_allclose(norms[99] / math.sqrt(size), 2.484e-14, rtol=1e-3)


@pytest.mark.usefixtures("x64")
def test_lstm_whose_units_forget_differently() -> None:
    """Each unit its own σ(b)^k. Their h are parallel to their c, some longer than another unit's c: the columns
    that the decomposition meets first depend on each other, and none of the later ones may be lost for it."""
    forget, output = np.array([3.0, -3.0, 0.0]), np.array([3.0, 3.0, -1.0])
    keep, shown = (1 / (1 + np.exp(-b)) for b in (forget, output))
    cell = LSTM(3)
    bias = jnp.asarray(np.concatenate([np.zeros(3), forget, np.zeros(3), output]))
    found = product_spectrum(step_jacobians(cell, zero_weights(cell, bias=bias), jnp.ones((60, 1))))
    exactly = np.arange(1, 61)[:, None] * np.log(keep) + np.log(np.hypot(1, shown))
    np.testing.assert_allclose(found[:, :3], -np.sort(-exactly, axis=1), rtol=0, atol=1e-11)
    assert np.all(found[:, 3:] == -np.inf)


@pytest.mark.parametrize(
    "cell", [BasicGRU(2), GRU(2), GRU(2, reset="before")], ids=["basic", "after", "before"]
)
def test_gated_units_without_weights(cell: Cell) -> None:
    """The gate is half open: every unit keeps 0.5^k."""
    jacobians = step_jacobians(cell, zero_weights(cell), jnp.ones((100, 1)))
    expected = np.arange(1, 101)[:, None] * math.log(0.5) * np.ones(2)
    np.testing.assert_allclose(product_spectrum(jacobians), expected, rtol=1e-6)


def dead(
    rows: Sequence[int] = (), columns: Sequence[int] = (), size: int = 5, length: int = 30
) -> np.ndarray:
    """Gaussian Jacobians; step t has the row `rows[t % …]` and the column `columns[t % …]` zero."""
    jacobians = np.random.default_rng(8).normal(size=(length, size, size))
    for t in range(length):
        if rows:
            jacobians[t, rows[t % len(rows)]] = 0
        if columns:
            jacobians[t, :, columns[t % len(columns)]] = 0
    return jacobians


DEAD = {
    "one unit": dead(rows=[2]),
    "another unit each step": dead(rows=[0, 3, 4, 1]),
    "a unit that nobody reads": dead(columns=[1]),
    "rows and columns": dead(rows=[0, 1], columns=[4, 2, 0]),
    "ever more units": np.stack([np.diag(0.5 + np.arange(5.0) * (np.arange(5) < k)) for k in range(1, 6)])
    * (np.arange(5)[None, :, None] < np.arange(1, 6)[:, None, None]),
}


@pytest.mark.parametrize("name", DEAD)
def test_dead_units_are_exact_zeros(name: str) -> None:
    """As many −∞ as the product has lost dimensions, and the others as they are."""
    jacobians = DEAD[name]
    lags = range(1, len(jacobians) + 1)
    expected = exact(jacobians, lags, 200)
    assert np.isneginf(expected[-1]).any()
    found = product_spectrum(jacobians)
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@given(size=st.integers(1, 4), length=st.integers(1, 4), data=st.data())
def test_small_whole_numbers(size: int, length: int, data: st.DataObject) -> None:
    """Zeros, equal rows, dependent columns: as many values as the true rank are there, the rest is rounding."""
    count = length * size * size
    entries = data.draw(st.lists(st.integers(-1, 1), min_size=count, max_size=count))
    jacobians = np.array(entries, float).reshape(length, size, size)
    expected = exact(jacobians, range(1, length + 1), 100)
    found = product_spectrum(jacobians)
    real = np.isfinite(expected)
    np.testing.assert_allclose(found[real], expected[real], rtol=0, atol=1e-10)
    # e^−28 ≈ 1e-12 of the largest that a product of four can be.
    assert np.all(found[~real] < -28)


def test_nothing_gets_through_a_step_of_zeros() -> None:
    jacobians = np.ones((4, 2, 2)) + np.eye(2)
    jacobians[1] = 0
    found = product_spectrum(jacobians)
    assert np.isfinite(found[:2]).all()
    assert np.all(found[2:] == -np.inf)


def test_one_dimension_and_one_step() -> None:
    """S = 1: sums of logarithms, from the last step back. T = 1: the singular values of that Jacobian."""
    numbers = np.array([3.0, -0.5, 1e-200, 1e-200, 7.0])
    found = product_spectrum(numbers[:, None, None])
    np.testing.assert_allclose(found[:, 0], np.cumsum(np.log(np.abs(numbers[::-1]))), rtol=1e-14)
    matrix = np.random.default_rng(9).normal(size=(1, 6, 6))
    np.testing.assert_allclose(product_spectrum(matrix)[0], np.log(np.linalg.svd(matrix[0])[1]), rtol=1e-12)
    assert product_spectrum(np.zeros((0, 3, 3))).shape == (0, 3)


def test_lags_choose_rows() -> None:
    """In the order asked for, and repeated where asked for twice."""
    jacobians = gaussian(10)[:30]
    whole = product_spectrum(jacobians)
    np.testing.assert_array_equal(product_spectrum(jacobians, [20, 3, 20]), whole[[19, 2, 19]])
    # The products end at the last step and reach back from there.
    backward = jacobians[29] @ jacobians[28] @ jacobians[27]
    np.testing.assert_allclose(whole[2], np.log(np.linalg.svd(backward)[1]), rtol=1e-10)


def test_what_is_refused() -> None:
    jacobians = gaussian(11)[:4]
    for lags in ([0], [5], [1, -1]):
        with pytest.raises(ValueError, match=r"lags must lie in 1 … 4, .*but are \["):
            product_spectrum(jacobians, lags)
    jacobians[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match="the Jacobian of step 2 is not finite"):
        product_spectrum(jacobians)
    # As a user has it: without the suite's own check of annotations, which would speak first.
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=r"jacobians must be \[T, S, S\], but is \[4, 2, 3\]"):
            product_spectrum(np.zeros((4, 2, 3)))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
