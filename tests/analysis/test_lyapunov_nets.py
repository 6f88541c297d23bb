"""Lyapunov spectra of random nets against Benettin's loop and mean-field theory; gradients; Newton's rounds."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import lyapunov_spectrum, step_jacobians
from experiments.contract.checks import example
from models import LSTM, Cell, Elman
from models.cell import Array
from models.recurrence.newton import Newton
from models.recurrence.unroll import unroll_with_info
from tests.analysis.benettin import textbook


def driven(size: int, gain: float, length: int, noise: float = 1.0) -> tuple[Cell, Any, Array]:
    """x_t = J tanh(x_{t−1}) + σ ξ_t, whose h = tanh(x) are an Elman net's."""
    rng = np.random.default_rng(0)
    params = {
        "kernel": noise * jnp.eye(size),
        "recurrent": jnp.asarray(gain / math.sqrt(size) * rng.normal(size=(size, size)), jnp.float32),
        "bias": jnp.zeros(size),
    }
    return Elman(size), params, jnp.asarray(rng.normal(size=(length, size)), jnp.float32)


@pytest.mark.full
@pytest.mark.parametrize("qr_every", [1, 10])
def test_single_precision_against_the_textbook(qr_every: int) -> None:
    """All 48 exponents of a net in single precision, from −0.2 to −7 or so, against QR in double precision."""
    cell, params, xs = driven(48, 1.5, 600)
    found = lyapunov_spectrum(cell, params, xs, warmup=100, qr_every=qr_every)
    expected = textbook(np.asarray(step_jacobians(cell, params, xs), np.float64), 48, 100)
    np.testing.assert_allclose(found.exponents, np.sort(expected)[::-1], rtol=0, atol=0.02)
    leading = lyapunov_spectrum(cell, params, xs, warmup=100, qr_every=qr_every, k=5)
    np.testing.assert_allclose(leading.exponents, found.exponents[:5], rtol=0, atol=0.01)
    assert np.isnan(leading.log_det)
    assert found.lost == 0
    backwards = lyapunov_spectrum(cell, params, xs, warmup=100, qr_every=qr_every, adjoint=True)
    errors = np.hypot(found.standard_errors, backwards.standard_errors)
    assert np.all(np.abs(backwards.exponents - found.exponents) < 5 * errors + 0.01)


@pytest.mark.full
@pytest.mark.parametrize("qr_every", [1, 10])
def test_a_large_net_of_full_rank_loses_nothing(qr_every: int) -> None:
    """All 256 in single precision, the smallest growth near its rounding now and then; at g = 1.5."""
    cell, params, xs = driven(256, 1.5, 300)
    found = lyapunov_spectrum(cell, params, xs, qr_every=qr_every)
    expected = textbook(np.asarray(step_jacobians(cell, params, xs), np.float64), 256, 30)
    assert found.lost == 0
    assert abs(found.sum_gap) < 1e-4 * abs(found.log_det)
    np.testing.assert_allclose(found.exponents[:200], np.sort(expected)[::-1][:200], atol=0.03)
    np.testing.assert_allclose(found.total, expected.sum(), rtol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gain", "expected"), [(1.0, -0.4595), pytest.param(1.5, -0.1418, marks=pytest.mark.full)]
)
def test_driven_net(gain: float, expected: float) -> None:
    """λ₁ = ½ ln χ of mean-field theory, N = 512, σ = 1."""
    cell, params, xs = driven(512, gain, 3000)
    found = lyapunov_spectrum(cell, params, xs, k=1, warmup=200)
    np.testing.assert_allclose(found.exponents, [expected], rtol=0, atol=0.006)


@pytest.mark.slow
def test_autonomous_net() -> None:
    """g = 3 without input: chaos, λ₁ = 0.3102 as N → ∞."""
    cell, params, _ = driven(512, 3.0, 0)
    params = params | {"kernel": jnp.zeros((0, 512))}
    start = jax.random.normal(jax.random.key(0), (512,))
    found = lyapunov_spectrum(cell, params, jnp.zeros((6000, 0)), start, k=1, warmup=500)
    assert 0.3102 - 0.012 < found.exponents[0] < 0.3102 + 0.006
    assert np.isnan(found.entropy_rate)  # one exponent of 512 can't tell


# --- what else it promises


@pytest.mark.slow
@pytest.mark.parametrize("qr_every", [pytest.param(1, marks=pytest.mark.full), 5])
@pytest.mark.usefixtures("x64")
def test_gradient(qr_every: int) -> None:
    """Of the flossing loss, against central differences, for a frame that is square and one that isn't."""
    params, xs, state = example(LSTM(2), (), 40)
    for k in (2, 4):

        def loss(recurrent: Array, k: int = k) -> Array:
            changed = params | {"recurrent": recurrent}
            found = lyapunov_spectrum(LSTM(2), changed, xs, state, k=k, warmup=5, qr_every=qr_every)
            return jnp.mean(found.exponents**2)

        loss = jax.jit(loss)
        direction = jax.random.normal(jax.random.key(1), params["recurrent"].shape)
        along = jnp.vdot(jax.grad(loss)(params["recurrent"]), direction)
        h = 1e-5
        above, below = (loss(params["recurrent"] + sign * h * direction) for sign in (1, -1))
        np.testing.assert_allclose(along, (above - below) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_several_trajectories() -> None:
    params, xs, _ = example(LSTM(3), (4,), 100)
    found = jax.vmap(partial(lyapunov_spectrum, LSTM(3), params), in_axes=1)(xs)
    for b in range(4):
        alone = lyapunov_spectrum(LSTM(3), params, xs[:, b])
        np.testing.assert_allclose(found.exponents[b], alone.exponents, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_newtons_rounds_follow_the_exponent() -> None:
    """The nearer λ₁ is to 0 the more rounds; above 0 a report, and scan's numbers in place of NaN."""
    cell, rounds, largest = Elman(16), [], []
    for gain in (0.3, 0.6, 0.9, 3.0):
        _, params, xs = driven(16, gain, 512, noise=0.5 if gain < 3 else 0.0)
        params = jax.tree.map(lambda leaf: leaf.astype(float), params)
        start = jnp.full(16, 0.1)
        found = lyapunov_spectrum(cell, params, xs.astype(float), start, k=1, warmup=50)
        largest.append(float(found.exponents[0]))
        _, ys, info = unroll_with_info(cell, params, xs.astype(float), start, method=Newton(200))
        assert info.iterations is not None
        assert info.converged is not None
        rounds.append(int(info.iterations))
        assert np.isfinite(ys).all()
        assert bool(info.converged) == (gain < 3)
    assert largest == sorted(largest)
    assert largest[-2] < 0 < largest[-1]
    assert rounds == sorted(rounds)
