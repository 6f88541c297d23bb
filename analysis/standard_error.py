"""Standard errors of mean growth rates: along one trajectory by blocks, over several starts by Student's t.

Blocks see only what one trajectory visits. Independent starts see the rest: slow drifts, rare bursts, and regimes
that a trajectory never leaves.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from models.cell import Array

BLOCKS = 20  # per trajectory
REGIME_GAP = 8.0  # smallest distance of two regimes, in errors of a trajectory
SIGNIFICANCE = 0.01  # level of the tests


def block_error(rates: Float[Array, "n k"]) -> tuple[Float[Array, " k"], Bool[Array, " k"]]:
    """Estimates the standard error of the mean of a correlated series, and whether it has stopped growing with
    block length.

    With B = 20 block means m_b the error is sd(m)/√B, which is right if blocks are longer than the correlations.
    Blocks of twice the length have 1 + ρ times its square, with ρ the correlation of m_b with m_{b+1}; without
    any, ρ is −1/B ± 1/√B. So the error has stopped growing if ρ + 1/B ≤ 2/√B, for 20 blocks and again for 10.
    Flyvbjerg & Petersen 1989, "Error estimates on averages of correlated data"; Jonsson 2018 tests the same
    correlations.

    With fewer than 20 rates each is a block, and growth can't be tested: False. With fewer than two, NaN and False.
    """
    blocks = min(BLOCKS, len(rates))
    if blocks < 2:
        return jnp.full(rates.shape[1], jnp.nan, rates.dtype), jnp.zeros(rates.shape[1], bool)
    length = len(rates) // blocks
    means = jnp.mean(rates[-blocks * length :].reshape(blocks, length, -1), axis=1)
    error = jnp.std(means, axis=0, ddof=1) / blocks**0.5
    rounding = 10 * jnp.finfo(rates.dtype).eps * (1 + jnp.max(jnp.abs(rates), axis=0))
    if blocks < BLOCKS:
        return error, error <= rounding
    plateaued = no_correlation(means) & no_correlation((means[::2] + means[1::2]) / 2)
    return error, plateaued | (error <= rounding)


def no_correlation(means: Float[Array, "b k"]) -> Bool[Array, " k"]:
    """Tests whether consecutive block means are uncorrelated."""
    deviations = means - jnp.mean(means, axis=0, keepdims=True)
    power = jnp.sum(deviations**2, axis=0)
    correlation = jnp.sum(deviations[1:] * deviations[:-1], axis=0) / jnp.where(
        power > 0, power, jnp.ones_like(power)
    )
    return correlation + 1 / len(means) <= 2 / len(means) ** 0.5


@dataclass(frozen=True)
class StartsSummary:
    """Means over N starts, one row for each of R regimes, that with most starts first.

    - `regime`: that of each start. `starts`: the number in each.
    - `exponents`: means over the starts of a regime; −∞ if one of them is.
    - `standard_errors`: s/√n, with s² the variance between the n starts of a regime; for a single start, that
      from its blocks. `freedom`: n − 1 degrees of freedom; for a single start, the number of its blocks minus one.
    - `half_widths`: of the 95 % interval, the error times the quantile of Student's t with `freedom` degrees.
    - `converged`: the half-width is at most tolerance · |λ| + absolute; the variance between starts is no larger
      than that from blocks along each trajectory, which continues the blocking of `block_error` to blocks as long
      as a trajectory (F test); and first and second halves agree over the starts (t test). At 1 % each.
    """

    regime: Int[np.ndarray, " N"]
    starts: Int[np.ndarray, " R"]
    exponents: Float[np.ndarray, "R k"]
    standard_errors: Float[np.ndarray, "R k"]
    half_widths: Float[np.ndarray, "R k"]
    converged: Bool[np.ndarray, "R k"]
    freedom: Int[np.ndarray, " R"]


def summarise_starts(
    exponents: Float[np.ndarray, "N k"],
    halves: Float[np.ndarray, "N 2 k"],
    block_errors: Float[np.ndarray, "N k"],
    *,
    tolerance: float = 0.05,
    absolute: float = 1e-4,
) -> StartsSummary:
    """Computes means over independent starts and their errors, from the exponents, those of the halves of each
    trajectory, and the errors from blocks.

    Raises ValueError for fewer than two starts, and for one whose exponents are NaN, as for a diverging trajectory.
    """
    count = len(exponents)
    if count < 2:
        raise ValueError(f"a variance between starts needs two or more, but there are {count}")
    if np.isnan(exponents).any():
        start = int(np.argmax(np.isnan(exponents).any(axis=1)))
        raise ValueError(
            f"the state of start {start} leaves the range of numbers: a diverging trajectory has no exponents"
        )
    regime = regimes(exponents[:, 0], halves[:, :, 0], tolerance=tolerance, absolute=absolute)
    rows = [
        summarise_regime(exponents[m], halves[m], block_errors[m], tolerance=tolerance, absolute=absolute)
        for m in (regime == r for r in range(regime.max() + 1))
    ]
    means, errors, widths, converged, freedom = map(np.array, zip(*rows, strict=True))
    return StartsSummary(regime, np.bincount(regime), means, errors, widths, converged, freedom)


def summarise_regime(
    exponents: Float[np.ndarray, "n k"],
    halves: Float[np.ndarray, "n 2 k"],
    block_errors: Float[np.ndarray, "n k"],
    *,
    tolerance: float,
    absolute: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Computes mean, standard error, half-width and convergence, `[k]` each, and degrees of freedom of n starts."""
    count = len(exponents)
    lost = np.isneginf(exponents).any(axis=0)  # there the mean is −∞
    exponents, halves = np.where(lost, 0.0, exponents), np.where(lost, 0.0, halves)
    block_variance = np.mean(np.where(lost, 0.0, block_errors) ** 2, axis=0)
    mean = exponents.mean(axis=0)
    freedom = count - 1 if count > 1 else BLOCKS - 1
    variance = np.var(exponents, axis=0, ddof=1) if count > 1 else block_variance
    error = np.sqrt(variance / count)
    width = error * scipy.stats.t.ppf(0.975, freedom)
    rounding = 1e-12 * (1 + np.abs(mean))
    drift = halves[:, 0] - halves[:, 1]
    noise = np.std(drift, axis=0, ddof=1) / count**0.5 if count > 1 else 2 * error
    converged = (
        (width <= tolerance * np.abs(mean) + absolute)
        & (
            variance
            <= scipy.stats.f.isf(SIGNIFICANCE, freedom, count * (BLOCKS - 1)) * block_variance + rounding**2
        )
        & (np.abs(drift.mean(axis=0)) <= noise * scipy.stats.t.ppf(1 - SIGNIFICANCE / 2, freedom) + rounding)
    )
    return np.where(lost, -np.inf, mean), error, width, converged, freedom


def regimes(
    first: Float[np.ndarray, " N"], halves: Float[np.ndarray, "N 2"], *, tolerance: float, absolute: float
) -> Int[np.ndarray, " N"]:
    """Assigns a regime to each start by its largest exponent, 0 for the regime with most starts.

    The halves a, b of a trajectory give its error e² = ⟨(a − b)²⟩/4, averaged over the starts. Sorted exponents
    belong to one regime as long as each is within 8 e (or the tolerance) of the previous one; trajectories that
    change regimes make e large, which leaves a single one.
    """
    finite = np.isfinite(first)
    error = np.sqrt(np.mean(np.diff(halves[finite], axis=1) ** 2)) / 2 if finite.any() else 0.0
    order = np.argsort(first)
    ordered = first[order]
    with np.errstate(invalid="ignore"):  # −∞ next to −∞ is no gap
        gaps = np.nan_to_num(np.diff(ordered), nan=0.0, posinf=np.inf)
    allowed = np.maximum(REGIME_GAP * error, tolerance * np.abs(ordered[1:]) + absolute)
    groups = np.concatenate([[0], np.cumsum(gaps > allowed)])
    sizes = np.bincount(groups)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    labels = np.empty(len(first), int)
    labels[order] = rank[groups]
    return labels
