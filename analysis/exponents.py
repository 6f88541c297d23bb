"""Statistics of a series of local growth rates: exponents, their errors, and derived quantities."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from analysis.standard_error import block_error
from models.cell import Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LyapunovSpectrum:
    """Lyapunov exponents in natural logarithm per step, largest first, and their accuracy.

    - `exponents`: λ_1 … λ_k. −∞ if steps eliminate directions (a dead ReLU), which the state forgets at once. In
      single precision also if the growth is below the rounding of the largest (about 1e-5 of it) at most steps:
      then compute only the leading ones, or use double precision.
    - `standard_errors`: from the scatter of at most 20 block averages; NaN with fewer than two. They hold along
      this trajectory only: the scatter over other starts can be several times larger, see `exponents_over_starts`.
    - `converged`: the standard error has stopped growing with block length (`block_error`; unknown with fewer than
      20 stretches, unless nothing varies), is at most tolerance · |λ| + absolute, and the halves of the run agree
      within three standard errors of their difference. It too holds for this trajectory only.
    - `steps`, `running`: the estimate after a number of steps, to plot it against T.
    - `kaplan_yorke`: the dimension j + (λ_1 + … + λ_j)/|λ_{j+1}|, with the largest j whose sum isn't negative
      (Kaplan & Yorke 1979). `entropy_rate`: the sum of the positive exponents, nats per step (Pesin 1977; in
      general an upper bound, Ruelle 1978). NaN if k exponents don't determine them.
    - `total`: Σλ, the growth of volumes. `log_det`, `sum_gap`: over the steps checked, ⟨ln |det J|⟩ by LU of J
      itself, and the sum of the exponents over the same steps minus that. NaN if k < S or an exponent is −∞.
    - `lost`: the number of exponents that are −∞.
    """

    exponents: Float[Array, "*batch k"]
    standard_errors: Float[Array, "*batch k"]
    converged: Bool[Array, "*batch k"]
    steps: Int[Array, "*batch points"]
    running: Float[Array, "*batch points k"]
    kaplan_yorke: Float[Array, "*batch"]
    entropy_rate: Float[Array, "*batch"]
    total: Float[Array, "*batch"]
    log_det: Float[Array, "*batch"]
    sum_gap: Float[Array, "*batch"]
    lost: Int[Array, "*batch"]


def summarise(
    logs: Float[Array, "n q k"],
    small: Bool[Array, "n q k"],
    log_dets: Float[Array, "n q"],
    *,
    whole: bool,
    tolerance: Float[Array, ""] | float,
    absolute: Float[Array, ""] | float,
) -> LyapunovSpectrum:
    """Computes the spectrum from ln |R_ii| in n stretches of q steps, and where they were below rounding;
    `log_dets` are ln |det J|, NaN at steps not checked; `whole` is True if k = S."""
    points, q, _ = logs.shape
    rates = jnp.mean(logs, axis=1)
    # One singular step gives −∞. In single precision it can't be told from a small growth, which a large net of
    # full rank has at every tenth step: there more than half of the steps must be below rounding.
    eps = float(jnp.finfo(logs.dtype).eps)
    threshold = 0.5 if eps > 1e-10 else 0.0
    lost = (jnp.mean(small, axis=(0, 1)) > threshold) | jnp.isneginf(jnp.mean(rates, axis=0))
    exponents = jnp.where(lost, -jnp.inf, jnp.mean(rates, axis=0))
    order = jnp.argsort(-exponents)
    exponents, lost, rates = exponents[order], lost[order], rates[:, order]

    errors, plateaued = block_error(jax.lax.stop_gradient(jnp.where(lost, 0.0, rates)))
    halves = jnp.mean(rates[: points // 2], axis=0) - jnp.mean(rates[points // 2 :], axis=0)
    rounding = 10 * eps * (1 + jnp.max(jnp.abs(rates), axis=0))
    small_enough = errors <= tolerance * jnp.abs(exponents) + absolute
    converged = plateaued & small_enough & (jnp.abs(halves) <= 3 * 2 * errors + rounding)
    count = jnp.arange(1, points + 1)
    running = jnp.cumsum(rates, axis=0) / count[:, None].astype(rates.dtype)

    total = jnp.sum(exponents)
    checked = ~jnp.isnan(log_dets)
    log_det = jnp.nanmean(log_dets) if whole else jnp.nan
    sums = jnp.sum(jnp.where(checked, jnp.sum(logs, axis=2), 0.0)) / jnp.maximum(jnp.sum(checked), 1)
    regular = whole & ~jnp.any(lost)
    return LyapunovSpectrum(
        exponents=exponents,
        standard_errors=errors,
        converged=converged | lost,
        steps=q * count,
        running=jnp.where(lost[None], -jnp.inf, running),
        kaplan_yorke=kaplan_yorke(exponents, whole=whole),
        entropy_rate=entropy_rate(exponents, whole=whole),
        total=total,
        log_det=jnp.where(regular, log_det, jnp.nan),
        sum_gap=jnp.where(regular, sums - log_det, jnp.nan),
        lost=jnp.sum(lost),
    )


def kaplan_yorke(exponents: Float[Array, " k"], *, whole: bool) -> Float[Array, ""]:
    """Computes j + (λ_1 + … + λ_j)/|λ_{j+1}| of descending exponents; S if all sums are positive, 0 if none is."""
    sums = jnp.concatenate([jnp.zeros(1, exponents.dtype), jnp.cumsum(exponents)])
    j = jnp.sum(sums[1:] >= 0)
    following = jnp.abs(exponents[jnp.minimum(j, len(exponents) - 1)])
    dimension = j + sums[j] / jnp.where(following > 0, following, 1.0)
    return jnp.where(j < len(exponents), dimension, len(exponents) if whole else jnp.nan)


def entropy_rate(exponents: Float[Array, " k"], *, whole: bool) -> Float[Array, ""]:
    """Computes the sum of the positive exponents; NaN if there may be more of them than were computed."""
    positive = jnp.sum(jnp.maximum(exponents, 0.0))
    return positive if whole else jnp.where(exponents[-1] <= 0, positive, jnp.nan)
