"""Lyapunov exponents from several independent starts, with the errors that lie between them."""

from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from analysis.exponents import LyapunovSpectrum
from analysis.lyapunov import lyapunov_spectrum
from analysis.standard_error import StartsSummary, summarise_starts
from models.cell import Array, Cell, Key, Params, State

STARTS = 8


def exponents_over_starts(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T N D"],
    states: State | None = None,
    *,
    k: int = 1,
    warmup: int | None = None,
    qr_every: int = 10,
    key: Key | None = None,
    tolerance: float = 0.05,
    absolute: float = 1e-4,
) -> StartsSummary:
    """Means of the k largest exponents over N starts, with Student's t for how far off they may be.

    Starts that fall into clearly different exponents are told apart, one row for each regime.

    Start i is driven by `xs[:, i]` from `states[i]` (by default the cell's initial state), and both should be
    independent of those of the others; eight or more tell the variance to a quarter. The warm-up must be several
    times what the state remembers: what is left of the beginning is the same in all starts, and no variance shows
    it (`converged` does, where it is large).

        xs = jax.random.normal(key, (2000, 8, 1))
        found = exponents_over_starts(GRU(16), params, xs, warmup=500)
        found.exponents[0, 0], found.half_widths[0, 0]  # λ₁ ± half the 95 % interval

    Raises ValueError as `lyapunov_spectrum` and `summarise_starts` do.
    """
    spectrum = partial(lyapunov_spectrum, cell, params, k=k, warmup=warmup, qr_every=qr_every, key=key)
    found = jax.vmap(spectrum, in_axes=(1, None if states is None else 0))(xs, states)
    return summary_of(found, tolerance=tolerance, absolute=absolute)


def summary_of(found: LyapunovSpectrum, *, tolerance: float = 0.05, absolute: float = 1e-4) -> StartsSummary:
    """The summary of spectra along N trajectories, as `jax.vmap` of `lyapunov_spectrum` gives them.

    Raises ValueError where trajectories are too short to be halved."""
    exponents = np.asarray(found.exponents, np.float64)
    running = np.asarray(found.running, np.float64)
    points = running.shape[1]
    if points < 2:
        raise ValueError(
            "a trajectory of one stretch can't be halved: give a longer one, or a smaller qr_every"
        )
    half = points // 2
    with np.errstate(invalid="ignore"):  # −∞ less −∞, where an exponent is lost
        first, total = running[:, half - 1] * half, running[:, -1] * points
        halves = np.stack([first / half, (total - first) / (points - half)], axis=1)
    errors = np.asarray(found.standard_errors, np.float64)
    return summarise_starts(exponents, halves, errors, tolerance=tolerance, absolute=absolute)
