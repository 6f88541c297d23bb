"""Newton's method over time: its rounds towards chaos, where it falls back, and what damping holds."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import BasicGRU, Cell, Elman
from models.cell import Array, Params
from models.recurrence.newton import Newton, newton
from models.recurrence.scan import scan
from tests.models.recurrence.newton_and_scan import BOTH, FULL, H, assert_same, both, compare, example

pytestmark = pytest.mark.slow


# --- iterations against the largest Lyapunov exponent: tanh, N = 16, T = 512, Gaussian weights


def driven(gain: float, length: int = 512, size: int = 16) -> tuple[Params, Array, Array]:
    rng = np.random.default_rng(0)
    recurrent = gain * rng.normal(size=(size, size)) / 4
    xs = 0.5 * rng.normal(size=(length, size))
    params = {"kernel": np.eye(size), "recurrent": recurrent, "bias": np.zeros(size)}
    return jax.tree.map(jnp.asarray, params), jnp.zeros(size), jnp.asarray(xs)


def largest_exponent(params: Params, ys: Array) -> float:
    """λ₁ of a tanh net along its states, by QR of the Jacobians' product."""
    recurrent, grown = np.asarray(params["recurrent"]), np.zeros(16)
    basis = np.eye(16)
    for h in np.asarray(ys):
        basis, triangle = np.linalg.qr((1 - h**2)[:, None] * recurrent.T @ basis)
        grown += np.log(np.abs(np.diag(triangle)))
    return float(grown.max() / len(ys))


@pytest.mark.usefixtures("x64")
def test_rounds_grow_towards_chaos() -> None:
    """5 at λ₁ ≈ −1.2, 6 or 7 at −0.55, 10 to 16 at −0.25, about 200 at 0 as measured with other weights."""
    cell, limit = Elman(16), Newton(512)

    @jax.jit
    def run(params: Params, state: Array, xs: Array) -> Any:
        drive = cell.drive(params, xs)
        out = newton(cell, params, state, drive, batch_shape=(), options=limit)
        return out, scan(cell, params, state, drive)

    rounds = []
    for gain, low, high, fewest, most in [
        (0.3, -1.5, -1.0, 3, 6),
        (0.6, -0.7, -0.45, 4, 8),
        (0.9, -0.35, -0.2, 6, 16),
        (1.7, -0.1, 0.05, 80, 400),
    ]:
        params, state, xs = driven(gain)
        (final, ys, info), expected = run(params, state, xs)
        assert low < largest_exponent(params, expected[1]) < high
        assert info["converged"]
        assert_same((final, ys), expected, 1e-10)
        assert fewest <= int(info["iterations"]) <= most
        rounds.append(int(info["iterations"]))
    assert rounds == sorted(set(rounds))


@pytest.mark.usefixtures("x64")
def test_chaos_falls_back() -> None:
    """Beyond the edge it gives up at the limit, and everything is scan's, the gradient included."""
    params, state, xs = driven(3.0)
    found, expected, info = both(Elman(16), FULL, params, state, xs, None, reverse=False, batch_shape=())
    assert largest_exponent(params, expected[0][1]) > 0.1
    assert not info["converged"]
    assert info["iterations"] == 100
    assert info["residual"] > 1e-3
    assert_same(found, expected, 1e-8)


@pytest.mark.usefixtures("x64")
def test_examples_are_judged_one_by_one() -> None:
    """A NaN in one example, and a limit that another doesn't meet, are no matter to the rest."""
    params, state, xs = example(Elman(H), 12, (3,))
    params = params | {"recurrent": 4 * params["recurrent"]}
    xs = xs.at[5, 0].set(jnp.nan).at[:, 1].multiply(20)  # the second is saturated: one round or two
    drive = Elman(H).drive(params, xs)
    options = Newton(4)
    run = jax.jit(lambda *given: newton(Elman(H), *given, batch_shape=(3,), options=options))
    final, ys, info = run(params, state, drive)
    expected = scan(Elman(H), params, state, drive)
    np.testing.assert_array_equal(info["converged"], [False, True, False])
    assert info["iterations"][1] < info["iterations"][2] == 4
    np.testing.assert_allclose(final, expected[0], rtol=0, atol=1e-12)  # NaN where scan's is
    np.testing.assert_allclose(ys, expected[1], rtol=0, atol=1e-12)
    assert np.isnan(ys).sum() == (12 - 5) * H


def test_overflow() -> None:
    """Products of Jacobians beyond the range of single precision: on the way, where the step alone goes on, and
    on the way back, where steps one after the other do."""
    cell = Elman(1)
    weights = {"recurrent": jnp.full((1, 1), 10.0)}
    drive = jnp.full((200, 1), 1e-3)
    run = jax.jit(lambda state, drive: newton(cell, weights, state, drive, batch_shape=(), options=FULL))
    final, ys, info = run(jnp.zeros(1), drive)
    assert_same((final, ys), scan(cell, weights, jnp.zeros(1), drive), 1e-5)
    assert info["converged"]

    found = jax.grad(lambda state: run(state, jnp.zeros((200, 1)))[1][0].sum())(jnp.zeros(1))
    np.testing.assert_allclose(found, [10.0], rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_what_has_converged_is_left_alone() -> None:
    """With a wide tolerance, an example's result doesn't depend on how long the others take."""
    params, state, xs = example(Elman(H), 30, (2,))
    xs = xs.at[:, 0].multiply(5)
    drive = Elman(H).drive({**params, "recurrent": 3 * params["recurrent"]}, xs)
    options = Newton(tolerance=1e-2)
    run = jax.jit(lambda *given: newton(Elman(H), *given, batch_shape=(2,), options=options)[2])
    together, doubled = run(params, state, drive), run(params, state[jnp.array([0, 0])], drive[:, [0, 0]])
    assert together["iterations"][0] < together["iterations"][1]
    assert doubled["residual"][0] > 1e-9
    np.testing.assert_allclose(together["residual"][0], doubled["residual"][0], rtol=1e-6)


# --- damping


@dataclass(frozen=True)
class Cubic(Cell):
    """Stable near 0, and off to infinity from far away."""

    def step(self, weights: Params, state: Array, drive: Array) -> tuple[Array, Array]:
        h = 0.9 * state + drive - 0.1 * state**3
        return h, h


@pytest.mark.full
@BOTH
@pytest.mark.usefixtures("x64")
def test_damping_holds_what_runs_away(options: Newton) -> None:
    drive = jnp.asarray(np.random.default_rng(0).normal(size=(200, 2)))
    expected = scan(Cubic(), None, jnp.zeros(2), drive)

    def run(options: Newton) -> Any:
        run = jax.jit(lambda *given: newton(Cubic(), None, *given, batch_shape=(), options=options))
        final, ys, info = run(jnp.zeros(2), drive)
        assert_same((final, ys), expected, 1e-12)
        return info

    plain, damped = run(options), run(replace(options, damping=1.0))
    assert not plain["converged"]
    assert not np.isfinite(plain["residual"])
    assert damped["converged"]
    assert damped["iterations"] < 60


@pytest.mark.full
@pytest.mark.usefixtures("x64")
def test_damping_holds_a_misleading_diagonal() -> None:
    """Eigenvalues ½ and ½, but 1.5 on the diagonal: what quasi-Newton takes for growth."""
    params = {"kernel": jnp.eye(2), "recurrent": jnp.array([[1.5, 1.0], [-1.0, -0.5]]), "bias": jnp.zeros(2)}
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(200, 2)))
    for damping, expected in ((0.0, False), (20.0, True)):
        options, cell = Newton(100, jacobian="diagonal", damping=damping), Elman(2, activation="identity")
        found, reference, info = both(
            cell, options, params, jnp.zeros(2), xs, None, reverse=False, batch_shape=()
        )
        assert info["converged"] == expected
        assert_same(found, reference, 1e-10)


@pytest.mark.usefixtures("x64")
def test_damping_leaves_the_solution() -> None:
    assert compare(BasicGRU(H), Newton(damping=1.0), 17, (3,), masked=True)["converged"].all()
