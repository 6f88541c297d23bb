"""minGRU and minLSTM against their equations, and where gates are shut or wide open."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import unroll
from models.cells.minimal import MinGRU, MinLSTM
from tests.models.cells.agreement import Leaves, compare, initial, random_params, sigmoid
from tests.models.loops import Arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")


def g(x: np.ndarray, positive: bool) -> np.ndarray:
    return np.where(x >= 0, x + 0.5, sigmoid(x)) if positive else x


def min_gru(cell: MinGRU, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    h, ys = start[0], []
    for x in xs:
        z, n = np.split(x @ p["kernel"] + p["bias"], 2)
        h = (1 - sigmoid(z)) * h + sigmoid(z) * g(n, cell.positive)
        ys.append(h)
    return np.stack(ys), [h]


def min_lstm(cell: MinLSTM, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    h, ys = start[0], []
    for x in xs:
        f, i, n = np.split(x @ p["kernel"] + p["bias"], 3)
        f, i = sigmoid(f), sigmoid(i)
        h = f / (f + i) * h + i / (f + i) * g(n, cell.positive)
        ys.append(h)
    return np.stack(ys), [h]


@pytest.mark.parametrize(
    ("cell", "loop"),
    [
        (MinGRU(4), min_gru),
        (MinGRU(3, positive=False), min_gru),
        (MinLSTM(4), min_lstm),
        (MinLSTM(3, positive=False, forget_bias=0.0), min_lstm),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_equations(cell, loop) -> None:
    compare(cell, partial(loop, cell), [np.linspace(0.1, 2, cell.hidden_size)])


@pytest.mark.parametrize("cell", [MinGRU(8), MinLSTM(8)], ids=lambda v: getattr(v, "__name__", str(v)))
def test_stays_positive(cell) -> None:
    """From the initial state, in single precision, under large inputs: outputs have logarithms."""
    params = jax.tree.map(jnp.float32, random_params(cell))
    xs = 20 * jax.random.normal(jax.random.key(0), (200, 2))
    np.testing.assert_array_equal(cell.initial_state(params), 0.5)
    ys = jax.jit(lambda p, xs: unroll(cell, p, xs)[1])(params, xs)
    assert float(ys.min()) > 0
    assert float(ys.max()) > 10
    assert bool(jnp.isfinite(jnp.log(ys)).all())


@pytest.mark.parametrize("size", [8.0, 30.0, 80.0])
def test_shut_gates_in_single_precision(size: float) -> None:
    """1 − z and f/(f + i) to full relative accuracy where subtracting, or dividing, would give 0, 1 or NaN."""
    drive = jnp.array([size, -size, 0.3, 0.3], jnp.float32)
    a, b = jax.jit(MinGRU(2).coefficients)({}, drive)
    exact = np.asarray(drive, np.float64)
    np.testing.assert_allclose(a, 1 / (1 + np.exp(exact[:2])), rtol=1e-6)
    np.testing.assert_allclose(b, 0.8 / (1 + np.exp(-exact[:2])), rtol=1e-6)

    f, i = [-4 * size, size, -size], [-4 * size + 1, -size, -2 * size]
    drive = jnp.array([*f, *i, 0.3, 0.3, 0.3], jnp.float32)
    a, b = jax.jit(MinLSTM(3).coefficients)({}, drive)
    log_ratio = np.logaddexp(0, -np.array(i)) - np.logaddexp(0, -np.array(f))
    np.testing.assert_allclose(a, np.exp(-np.logaddexp(0, -log_ratio)), rtol=2e-5)
    np.testing.assert_allclose(b, 0.8 * np.exp(-np.logaddexp(0, log_ratio)), rtol=2e-5)


def test_forget_bias() -> None:
    bias = initial(MinLSTM(3, forget_bias=2.5), jax.random.key(0), 2)["bias"]
    np.testing.assert_array_equal(bias, [2.5] * 3 + [0.0] * 6)
