"""States written in more than one way, starts that hold nothing, and directions that are lost."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import (
    gradient_by_lag,
    leading_singular_values,
    lyapunov_spectrum,
    product_spectrum,
    step_jacobians,
)
from analysis.health import health_arrays
from experiments.contract.checks import example
from models import CELLS, MLSTM, SLSTM, Cell, Elman, LearnedState, Newton, Stacked, unroll_with_info
from models.cell import Array
from models.state import coordinates_size

pytestmark = pytest.mark.usefixtures("quick_compilation")
XLSTM = [
    SLSTM(4),
    MLSTM(4, heads=2),
    pytest.param(MLSTM(4, heads=2, forget="exponential"), marks=pytest.mark.slow),
    pytest.param(Stacked((SLSTM(2), Elman(2))), marks=pytest.mark.slow),
]


def rewritten(cell: Cell, state: Any, a: float) -> Any:
    """(c, n, m) as (c e⁻ᵃ, n e⁻ᵃ, m + a)."""
    if isinstance(cell, Stacked):
        return (rewritten(cell.layers[0], state[0], a), *state[1:])
    if isinstance(cell, SLSTM):
        return state._replace(c=state.c * math.exp(-a), n=state.n * math.exp(-a), m=state.m + a)
    return state._replace(C=state.C * math.exp(-a), n=state.n * math.exp(-a), m=state.m + a)


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell", [XLSTM[0], *(pytest.param(cell, marks=pytest.mark.full) for cell in XLSTM[1:])], ids=str
)
@pytest.mark.usefixtures("x64")
def test_what_is_measured_does_not_depend_on_how_a_state_is_written(cell: Cell) -> None:
    params, xs, state = example(cell, (), 60)
    other = rewritten(cell, state, 4.0)

    def loss(_: Any, ys: Array) -> Array:
        return jnp.sum(ys[-1])

    norms, jacobians = gradient_by_lag(cell, params, xs, loss, state), step_jacobians(cell, params, xs, state)
    assert np.all(norms[1:] > 0)
    np.testing.assert_allclose(gradient_by_lag(cell, params, xs, loss, other), norms, rtol=1e-8)
    np.testing.assert_allclose(step_jacobians(cell, params, xs, other), jacobians, rtol=1e-8, atol=1e-12)
    found, again = (lyapunov_spectrum(cell, params, xs, s) for s in (state, other))
    np.testing.assert_allclose(again.exponents, found.exponents, rtol=1e-7, atol=1e-9)
    # No exponent for the freedom, and so a determinant.
    assert found.lost == 0
    assert abs(found.sum_gap) < 1e-9 * (1 + abs(found.log_det))
    expected = np.linalg.slogdet(jacobians[10:])[1].mean()
    np.testing.assert_allclose(found.total, expected, rtol=1e-6, atol=1e-9)
    weights = cell.prepare(params)
    product = product_spectrum(jacobians[-20:], [20])[0, :2]
    before = jax.lax.scan(
        lambda s, x: (cell.step(weights, s, cell.drive(weights, x))[0], None), state, xs[:-20]
    )[0]
    np.testing.assert_allclose(
        leading_singular_values(cell, params, xs[-20:], before, k=2), product, atol=0.01
    )


def test_numbers_of_coordinates() -> None:
    """S = 3H for an sLSTM, d² + d a head for an mLSTM."""
    for cell, size in ((SLSTM(4), 12), (MLSTM(4, heads=2), 12)):
        assert coordinates_size(cell, cell.initial_state(cell.init(jax.random.key(0), 1))) == size


@pytest.mark.full
@pytest.mark.parametrize("adjoint", [False, True])
def test_lost_directions_of_an_mlstm(adjoint: bool) -> None:
    """The first step has rank 0. Every direction of a head grows as its forget gate, on average; λ₁ is the second
    head's, whatever k is."""
    cell = MLSTM(8, heads=2)
    params, xs = cell.init(jax.random.key(0), 1), jax.random.normal(jax.random.key(1), (2000, 1))
    exact = np.mean(cell.drive(params, xs)["log_forget"], axis=0)
    assert exact[0] < -0.08
    for k in (1, 40):
        found = lyapunov_spectrum(cell, params, xs, k=k, adjoint=adjoint)
        assert abs(found.exponents[0] - exact[1]) < 3 * found.standard_errors[0] + 1e-4
        assert found.lost == 0
    np.testing.assert_allclose(found.exponents[20:], exact[0], atol=0.01)


@pytest.mark.parametrize("cell", [SLSTM(4, forget="exponential"), MLSTM(4, heads=2)], ids=["slstm", "mlstm"])
def test_newton_measures_the_exponent_in_coordinates(cell: Cell) -> None:
    """λ₁ is that of the spectrum, nearer than its standard error; wherever the sequence is padded."""
    params, xs = cell.init(jax.random.key(0), 1), jax.random.normal(jax.random.key(1), (250, 1))

    @jax.jit
    def measured(xs: Array, mask: Array) -> Any:
        info = unroll_with_info(cell, params, xs, mask=mask, method=Newton(1, lyapunov="measure"))[2]
        return info.exponent

    expected = lyapunov_spectrum(cell, params, xs, k=1).exponents[0]
    assert abs(measured(xs, jnp.ones(250, bool)) - expected) < 7e-4
    padding, steps = jnp.full((40, 1), jnp.nan), jnp.arange(250)
    before = measured(jnp.concatenate([padding, xs[:210]]), steps >= 40)
    after = measured(jnp.concatenate([xs[:210], padding]), steps < 210)
    np.testing.assert_allclose(before, after, rtol=1e-4)


@pytest.mark.full
def test_health_leaves_out_the_start() -> None:
    cell = MLSTM(4, heads=2)
    params, xs = cell.init(jax.random.key(0), 1), jax.random.normal(jax.random.key(1), (16, 2, 1))
    found = health_arrays(cell, params, xs, lambda _, ys: jnp.sum(ys[-1]))
    assert np.isfinite(found["exponents"]).all()
    assert "triangles_16" not in found
    assert np.abs(found["triangles_4"]).max() > 0.01


KINDS = ("lstm", "s5", "slstm", "mlstm")  # one of each kind of state
REST = [name for name in CELLS if name not in (*KINDS, "transformer")]  # a cache has none


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name == "mlstm" else pytest.param(name, marks=pytest.mark.full) for name in [*KINDS, *REST]],
)
@pytest.mark.usefixtures("x64")
def test_fewer_exponents_are_those_of_the_whole_spectrum(name: str) -> None:
    """To the error bar, from the cell's own start."""
    kind: Any = CELLS[name]
    cell = kind(4)
    params, xs, _ = example(cell, (), 500)
    whole, found = lyapunov_spectrum(cell, params, xs), lyapunov_spectrum(cell, params, xs, k=1)
    largest, leading = float(whole.exponents[0]), float(found.exponents[0])
    assert np.isfinite(leading) == np.isfinite(largest)
    if np.isfinite(largest):
        error = np.hypot(whole.standard_errors[0], found.standard_errors[0])
        assert abs(leading - largest) <= 3 * error + 2e-3


@pytest.mark.parametrize("cell", [SLSTM(2), MLSTM(2), Stacked((Elman(2), MLSTM(2)))], ids=str)
def test_a_start_that_holds_nothing_is_not_learned(cell: Cell) -> None:
    with pytest.raises(ValueError, match=r"initial state of .* can't be learned"):
        jax.jit(lambda key: LearnedState(cell).init(key, 1))(jax.random.key(0))
