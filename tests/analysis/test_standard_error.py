"""Standard errors against series whose errors are known, and against SciPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from analysis import exponents_over_starts, lyapunov_spectrum
from analysis.standard_error import block_error, summarise_starts
from models import GRU
from tests.analysis.normal_score import normal_score

# --- blocks


def autoregressive(memory: float, count: int, length: int) -> np.ndarray:
    """x_t = memory x_{t−1} + ξ_t, `[length, count]`: the variance of its mean is 1/((1 − memory)² length)."""
    noise = np.random.default_rng(0).normal(size=(length + 500, count))
    series = np.zeros_like(noise)
    for t in range(1, len(noise)):
        series[t] = memory * series[t - 1] + noise[t]
    return series[500:]


@pytest.mark.usefixtures("x64")
def test_blocks_longer_than_the_correlations() -> None:
    """The error is right, and nearly always said to have stopped growing; where it can't be right, nearly never."""
    error, still = block_error(jnp.asarray(autoregressive(0.8, 400, 1000)))
    assert np.sqrt(np.mean(error**2)) == pytest.approx(1 / 0.2 / 1000**0.5, rel=0.1)
    assert np.mean(still) > 0.9
    error, still = block_error(jnp.asarray(autoregressive(0.995, 400, 1000)))
    assert np.sqrt(np.mean(error**2)) < 0.7 * 1 / 0.005 / 1000**0.5
    assert np.mean(still) < 0.1


def test_blocks_of_few_or_equal_rates() -> None:
    assert np.isnan(block_error(jnp.ones((1, 2)))[0]).all()
    for rates, expected in ((jnp.arange(6.0), False), (jnp.ones(6), True), (jnp.ones(100), True)):
        assert block_error(rates[:, None])[1].tolist() == [expected]


# --- starts


def starts_of(
    means: Any, noise: float = 0.01, length: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exponents of starts whose rates scatter about their means, halves and the error that blocks would say."""
    rates = np.asarray(means) + noise * np.random.default_rng(1).normal(size=(length, len(means)))
    halves = np.stack([rates[: length // 2].mean(0), rates[length // 2 :].mean(0)], axis=1)
    errors = np.full((len(means), 1), noise / length**0.5)
    return rates.mean(0)[:, None], halves[..., None], errors


def test_one_regime() -> None:
    """Mean, error and interval are those of SciPy's t test."""
    exponents, halves, errors = starts_of(np.full(8, -0.3))
    found = summarise_starts(exponents, halves, errors)
    interval = stats.ttest_1samp(exponents[:, 0], 0).confidence_interval(0.95)
    np.testing.assert_allclose(found.exponents, exponents.mean(keepdims=True))
    np.testing.assert_allclose(found.standard_errors[0, 0], stats.sem(exponents[:, 0]))
    np.testing.assert_allclose(found.exponents[0, 0] + found.half_widths[0, 0], interval.high)
    assert found.starts.tolist() == [8]
    assert found.freedom.tolist() == [7]
    assert found.converged.all()


def test_two_regimes_are_two_exponents() -> None:
    """Also where one start alone is in the other: its error is that of its blocks."""
    exponents, halves, errors = starts_of([-0.16, 0.0, 0.0, -0.16, 0.0, 0.0, 0.0, 0.0])
    found = summarise_starts(exponents, halves, errors)
    assert found.regime.tolist() == [1, 0, 0, 1, 0, 0, 0, 0]
    assert found.starts.tolist() == [6, 2]
    np.testing.assert_allclose(found.exponents[:, 0], [0.0, -0.16], atol=0.003)
    assert found.freedom.tolist() == [5, 1]
    alone = summarise_starts(exponents[1:], halves[1:], errors[1:])
    assert alone.starts.tolist() == [6, 1]
    assert alone.standard_errors[1, 0] == errors[0, 0]


def test_what_isnt_converged() -> None:
    """Starts that scatter beyond what blocks say, a common drift, an error large beside the exponent."""
    exponents, halves, errors = starts_of(np.full(8, -0.3))
    assert not summarise_starts(exponents, halves, errors / 3).converged.any()
    drifting = halves + np.array([0.01, -0.01])[:, None]
    assert not summarise_starts(exponents, drifting, errors).converged.any()
    assert not summarise_starts(exponents + 0.297, halves + 0.297, errors).converged.any()


def test_lost_exponents_and_bad_starts() -> None:
    exponents, halves, errors = (np.repeat(a, 2, axis=-1) for a in starts_of(np.full(8, -0.3)))
    exponents[:, 1], halves[..., 1] = -np.inf, -np.inf
    found = summarise_starts(exponents, halves, errors)
    assert found.exponents[0, 1] == -np.inf
    assert np.isfinite(found.exponents[0, 0])
    exponents[3] = np.nan
    with pytest.raises(ValueError, match="the state of start 3 leaves the range of numbers"):
        summarise_starts(exponents, halves, errors)
    with pytest.raises(ValueError, match="needs two or more, but there are 1"):
        summarise_starts(exponents[:1], halves[:1], errors[:1])


def test_normal_score() -> None:
    """Of the quantiles of t, those of the normal distribution; far out too, where F is 1."""
    at = np.array([0.023, 0.5, 0.84])
    np.testing.assert_allclose(normal_score(stats.t.ppf(at, 7), 7), stats.norm.ppf(at), atol=1e-12)
    far = stats.norm.isf(stats.t.sf(1e6, 7))
    np.testing.assert_allclose(normal_score(np.array([-1e6, 1e6]), 7), [-far, far])
    assert 13 < far < 14


@pytest.mark.usefixtures("x64")
def test_starts_of_a_cell() -> None:
    """As start by start."""
    cell = GRU(3)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (300, 8, 2))
    states = jax.random.normal(jax.random.key(2), (8, 3))
    found = exponents_over_starts(cell, params, xs, states, k=2, warmup=100)
    each = [lyapunov_spectrum(cell, params, xs[:, i], states[i], k=2, warmup=100).exponents for i in range(8)]
    np.testing.assert_allclose(found.exponents, np.mean(each, axis=0, keepdims=True), rtol=1e-6)
    np.testing.assert_allclose(found.standard_errors[0], stats.sem(np.array(each)), rtol=1e-4)
    with pytest.raises(ValueError, match="one stretch can't be halved"):
        exponents_over_starts(cell, params, xs[:12], states, warmup=2)
