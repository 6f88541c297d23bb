"""Lyapunov spectra against exact answers and NumPy loops in double precision."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma

from analysis import lyapunov_spectrum, step_jacobians
from experiments.contract.checks import example
from models import CELLS, GRU, LSTM, BasicGRU, BatchNormLSTM, Cell, Elman, FixedWindow, Stacked
from models.cell import Array
from tests.analysis.benettin import textbook
from tests.analysis.maps import CatMap, HenonMap, LogisticMap, Lorenz


@dataclass(frozen=True)
class Linear(Cell):
    """s_t = s_{t−1} A_t, the input being A_t, row by row."""

    size: int

    def initial_state(self, params: Any, batch_shape: tuple[int, ...] = ()) -> Array:
        return jnp.zeros((*batch_shape, self.size))

    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Array, Array]:
        state = state @ drive.reshape(self.size, self.size)
        return state, state


# --- exact answers


@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-12), (False, 1e-6)])
@pytest.mark.parametrize("qr_every", [1, 10])
def test_scaled_rotation(double: bool, tolerance: float, qr_every: int) -> None:
    """g Q: every exponent is ln g, and the determinants' mean S ln g; 0.7^1000 is 1e-155."""
    with jax.enable_x64(double):
        q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
        params = {"kernel": jnp.zeros((0, 6)), "recurrent": jnp.asarray(0.7 * q), "bias": jnp.zeros(6)}
        cell = Elman(6, activation="identity")
        found = lyapunov_spectrum(cell, params, jnp.zeros((1000, 0)), qr_every=qr_every)
    np.testing.assert_allclose(found.exponents, np.full(6, math.log(0.7)), rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.log_det, 6 * math.log(0.7), rtol=10 * tolerance)
    assert found.converged.all()
    assert int(found.lost) == float(found.kaplan_yorke) == float(found.entropy_rate) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_product_of_gaussian_matrices() -> None:
    """λ_i = ½ [ln 2 + ψ((N − i + 1)/2)]. Newman 1986."""
    size, length = 8, 20_000
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(length, size**2)))
    found = lyapunov_spectrum(Linear(size), {}, xs)
    exact = (math.log(2) + digamma((size - np.arange(size)) / 2)) / 2
    np.testing.assert_allclose(exact[[0, -1]], [0.97463, -0.63518], atol=1e-5)
    np.testing.assert_allclose(found.exponents, exact, rtol=0, atol=0.03)
    # To 5 % of themselves; the seventh, 0.058, isn't known so well.
    np.testing.assert_array_equal(found.converged, np.arange(size) != 6)
    # The errors claimed are those made: none beyond four of them, and not all below a tenth.
    errors = np.abs(found.exponents - exact) / found.standard_errors
    assert 0.3 < errors.max() < 4
    assert found.steps[-1] == length - length // 10
    np.testing.assert_allclose(found.running[-1], found.exponents, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_cat_map() -> None:
    found = lyapunov_spectrum(CatMap(), {}, jnp.zeros((1000, 0)))
    golden = math.log((3 + math.sqrt(5)) / 2)
    np.testing.assert_allclose(found.exponents, [golden, -golden], rtol=0, atol=1e-6)
    np.testing.assert_allclose([found.total, found.log_det, found.sum_gap], 0, atol=1e-12)
    np.testing.assert_allclose(found.kaplan_yorke, 2, atol=1e-9)
    np.testing.assert_allclose(found.entropy_rate, golden, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_logistic_map() -> None:
    found = lyapunov_spectrum(LogisticMap(), {}, jnp.zeros((20_000, 0)))
    np.testing.assert_allclose(found.exponents, [math.log(2)], rtol=0, atol=0.002)
    contracting = lyapunov_spectrum(LogisticMap(2.8), {}, jnp.zeros((1000, 0)), warmup=500)
    # At the fixed point f' = 2 − r.
    np.testing.assert_allclose(contracting.exponents, [math.log(0.8)], rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_henon_map() -> None:
    """The same backwards, by the transposed Jacobians."""
    for adjoint in (False, True):
        found = lyapunov_spectrum(HenonMap(), {}, jnp.zeros((100_000, 0)), adjoint=adjoint)
        np.testing.assert_allclose(found.exponents, [0.4192, -1.6232], rtol=0, atol=0.003)
        np.testing.assert_allclose(found.total, math.log(0.3), rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.kaplan_yorke, 1.2583, atol=0.002)  # Sprott 2003
        assert abs(found.sum_gap) < 1e-12


@pytest.mark.full
@pytest.mark.usefixtures("x64")
def test_lorenz() -> None:
    cell = Lorenz()
    found = lyapunov_spectrum(cell, {}, jnp.zeros((300_000, 0)))
    exponents = np.asarray(found.exponents) / cell.dt
    np.testing.assert_allclose(exponents, [0.906, 0, -14.572], rtol=0, atol=0.02)
    np.testing.assert_allclose(exponents.sum(), -41 / 3, rtol=0, atol=0.001)
    np.testing.assert_allclose(found.kaplan_yorke, 2.062, atol=0.003)


# --- any cell


def sized(kind: Any) -> Cell:
    return kind(4)


SINGULAR = ("ind_rnn",)
CACHES = ("transformer",)
LEFT_OUT = (*SINGULAR, *CACHES, "window")
REGULAR = {name: sized(kind) for name, kind in CELLS.items() if name not in LEFT_OUT} | {
    "gru, reset before": GRU(4, reset="before"),
    "stack": Stacked((LSTM(3), GRU(2))),
    "batch norm": BatchNormLSTM(3),
}


# One of each kind of state and step.
KINDS = ("lru", "slstm", "stack")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [*KINDS, *(pytest.param(name, marks=pytest.mark.full) for name in REGULAR if name not in KINDS)]
)
@pytest.mark.usefixtures("x64")
def test_sum_rule(name: str) -> None:
    """Σλ = ⟨ln |det J|⟩ with NumPy's determinants; the exponents are the textbook's."""
    cell = REGULAR[name]
    params, xs, state = example(cell, (), 400)
    found = lyapunov_spectrum(cell, params, xs, state, warmup=100)
    jacobians = np.asarray(step_jacobians(cell, params, xs, state))
    expected = np.linalg.slogdet(jacobians[100:])[1].mean()
    np.testing.assert_allclose(found.total, expected, rtol=1e-5, atol=1e-12)
    assert abs(found.sum_gap) <= 1e-5 * max(abs(expected), 1e-7)
    assert found.lost == 0
    if len(found.exponents) < 20:
        reference = np.sort(textbook(jacobians, len(found.exponents), 100))[::-1]
        np.testing.assert_allclose(found.exponents, reference, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SINGULAR, "relu"])
@pytest.mark.usefixtures("x64")
def test_lost_directions_are_counted(name: str) -> None:
    """As many exponents at −∞ as the least rank of a step leaves, and no sum rule."""
    cell = Elman(4, activation="relu") if name == "relu" else sized(CELLS[name])
    params, xs, state = example(cell, (), 400)
    found = lyapunov_spectrum(cell, params, xs, state, warmup=100)
    jacobians = np.asarray(step_jacobians(cell, params, xs, state))[100:]
    rank = int(np.linalg.matrix_rank(jacobians).min())
    assert rank < len(found.exponents)
    assert found.lost == np.isneginf(found.exponents).sum() == len(found.exponents) - rank
    assert np.isnan(found.log_det)
    assert np.isnan(found.sum_gap)


@pytest.mark.usefixtures("x64")
def test_all_directions_lost() -> None:
    """A fixed window forgets everything in as many steps as it keeps inputs."""
    cell = FixedWindow(4)
    params, xs, state = example(cell, (), 60)
    found = lyapunov_spectrum(cell, params, xs, state, warmup=20)
    assert np.isneginf(found.exponents).all()
    assert found.lost == len(found.exponents) == cell.window * 4 - 4


@pytest.mark.full
@pytest.mark.parametrize("double", [True, False])
def test_one_dead_unit(double: bool) -> None:
    """One ReLU of three never fires: one exponent at −∞, the others those of the two alive alone."""
    with jax.enable_x64(double):
        recurrent = np.array([[0.5, 0.2, 0.3], [0.1, 0.4, -0.6], [0.7, -0.3, 0.2]])
        params = {
            "kernel": jnp.zeros((0, 3)),
            "recurrent": jnp.asarray(recurrent),
            "bias": jnp.array([1.0, 1.0, -20.0]),
        }
        cell = Elman(3, activation="relu")
        for qr_every in (1, 7):
            found = lyapunov_spectrum(cell, params, jnp.zeros((500, 0)), warmup=100, qr_every=qr_every)
            alive = np.sort(np.log(np.abs(np.linalg.eigvals(recurrent[:2, :2]))))[::-1]
            np.testing.assert_allclose(found.exponents[:2], alive, rtol=1e-5)
            assert np.isneginf(found.exponents[2])
            assert found.lost == 1


@pytest.mark.parametrize(
    "cell", [BasicGRU(2), GRU(2), GRU(2, reset="before")], ids=lambda c: type(c).__name__
)
def test_gated_units_without_weights(cell: Cell) -> None:
    """The gate is half open: 0.5^k."""
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1))
    found = lyapunov_spectrum(cell, params, jnp.ones((200, 1)))
    np.testing.assert_allclose(found.exponents, np.full(2, math.log(0.5)), rtol=1e-5)


def test_lstm_without_weights() -> None:
    """Forget bias 1: 100 steps keep σ(1)^100 = 2.484e-14, and what h held is lost at once."""
    params = jax.tree.map(jnp.zeros_like, LSTM(2).init(jax.random.key(0), 1))
    params = params | {"bias": params["bias"].at[2:4].set(1.0)}
    found = lyapunov_spectrum(LSTM(2), params, jnp.ones((200, 1)))
    np.testing.assert_allclose(
        np.exp(100 * np.float64(found.exponents[:2])), np.full(2, 2.484e-14), rtol=2e-4
    )
    np.testing.assert_allclose(found.exponents[:2], np.full(2, -math.log1p(math.exp(-1))), rtol=1e-6)
    assert found.lost == 2


# --- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 3}, "there are 2 exponents, one for each number in the state, but k is 3"),
        ({"k": 0}, "k must be a whole number of at least 1"),
        ({"warmup": 50}, "a sequence of 50 steps is too short for a warm-up of 50"),
        ({"warmup": -1}, "warmup must be a whole number of at least 0"),
        ({"qr_every": 0}, "qr_every must be a whole number of at least 1"),
    ],
)
def test_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lyapunov_spectrum(CatMap(), {}, jnp.zeros((50, 0)), **options)  # pyright: ignore[reportArgumentType]


def test_states_that_run_away() -> None:
    with pytest.raises(ValueError, match=r"HenonMap leaves the range of float32 at step \d+ of 500"):
        lyapunov_spectrum(HenonMap(a=3.0), {}, jnp.zeros((500, 0)))


def test_maps_refuse_inputs() -> None:
    with pytest.raises(ValueError, match="a CatMap takes no input, but D is 2"):
        CatMap().init(jax.random.key(0), 2)
