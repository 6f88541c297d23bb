"""Statistics of a series of local growth rates: exponents, their errors, and what follows from them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from analysis.standard_error import block_error
from models.cell import Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LyapunovSpectrum:
    """Exponents in natural logarithm per step, largest first, and how good they are.

    - `exponents`: λ_1 … λ_k. −∞ where steps take directions away (a dead ReLU): the state forgets them at once.
      In single precision also where the growth is below the rounding of the largest (1e-5 of it or so) at most
      steps: ask there for the leading ones, or take double precision.
    - `standard_errors`: of each, from the scatter of at most 20 block averages; NaN with fewer than two. It is the
      error along this trajectory, and knows nothing of what the trajectory doesn't visit: other starts may scatter
      by several times as much, and `exponents_over_starts` says by how much.
    - `converged`: the standard error has stopped growing with block length (`block_error`; never known with fewer
      than 20 stretches, unless nothing varies), is at most tolerance · |λ| + absolute, and the halves of the run
      agree within three standard errors of their difference. It too speaks of this trajectory alone.
    - `steps`, `running`: the estimate after so many steps, for drawing it against T.
    - `kaplan_yorke`: the dimension j + (λ_1 + … + λ_j)/|λ_{j+1}|, with j as large as that sum isn't negative
      (Kaplan & Yorke 1979). `entropy_rate`: the sum of the positive exponents, nats per step (Pesin 1977; in
      general an upper bound, Ruelle 1978). NaN where k exponents aren't enough to know them.
    - `total`: Σλ, the growth of volumes. `log_det`, `sum_gap`: over the steps checked, ⟨ln |det J|⟩ by LU of J
      itself, and the exponents' sum over the same steps less that. NaN where k < S or an exponent is −∞.
    - `lost`: how many exponents are −∞.
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
    """The spectrum from ln |R_ii| in n stretches of q steps, and where they were below rounding; `log_dets` are
    ln |det J|, NaN at steps not checked; `whole` says that k = S."""
    points, q, _ = logs.shape
    rates = jnp.mean(logs, axis=1)
    # One singular step makes −∞. Single precision can't tell it from a small growth, which a large net of full rank
    # has at every tenth step: there most steps must agree.
    eps = float(jnp.finfo(logs.dtype).eps)
    often = 0.5 if eps > 1e-10 else 0.0
    lost = (jnp.mean(small, axis=(0, 1)) > often) | jnp.isneginf(jnp.mean(rates, axis=0))
    exponents = jnp.where(lost, -jnp.inf, jnp.mean(rates, axis=0))
    order = jnp.argsort(-exponents)
    exponents, lost, rates = exponents[order], lost[order], rates[:, order]

    errors, still = block_error(jax.lax.stop_gradient(jnp.where(lost, 0.0, rates)))
    halves = jnp.mean(rates[: points // 2], axis=0) - jnp.mean(rates[points // 2 :], axis=0)
    rounding = 10 * eps * (1 + jnp.max(jnp.abs(rates), axis=0))
    small_enough = errors <= tolerance * jnp.abs(exponents) + absolute
    settled = still & small_enough & (jnp.abs(halves) <= 3 * 2 * errors + rounding)
    count = jnp.arange(1, points + 1)
    running = jnp.cumsum(rates, axis=0) / count[:, None].astype(rates.dtype)

    total = jnp.sum(exponents)
    seen = ~jnp.isnan(log_dets)
    log_det = jnp.nanmean(log_dets) if whole else jnp.nan
    sums = jnp.sum(jnp.where(seen, jnp.sum(logs, axis=2), 0.0)) / jnp.maximum(jnp.sum(seen), 1)
    regular = whole & ~jnp.any(lost)
    return LyapunovSpectrum(
        exponents=exponents,
        standard_errors=errors,
        converged=settled | lost,
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
    """j + (λ_1 + … + λ_j)/|λ_{j+1}| of exponents that fall; S where all sums are positive, 0 where none is."""
    sums = jnp.concatenate([jnp.zeros(1, exponents.dtype), jnp.cumsum(exponents)])
    j = jnp.sum(sums[1:] >= 0)
    after = jnp.abs(exponents[jnp.minimum(j, len(exponents) - 1)])
    between = j + sums[j] / jnp.where(after > 0, after, 1.0)
    return jnp.where(j < len(exponents), between, len(exponents) if whole else jnp.nan)


def entropy_rate(exponents: Float[Array, " k"], *, whole: bool) -> Float[Array, ""]:
    """The sum of the positive exponents; NaN where there may be more of them than were computed."""
    positive = jnp.sum(jnp.maximum(exponents, 0.0))
    return positive if whole else jnp.where(exponents[-1] <= 0, positive, jnp.nan)
