"""Lyapunov exponents from several independent starts, with errors from the variance between them."""

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
    """Computes means of the k largest exponents over N starts, with confidence intervals by Student's t.

    Starts with clearly different exponents are separated, one row for each regime.

    Start i is driven by `xs[:, i]` from `states[i]` (by default the cell's initial state), which should be
    independent of those of the other starts; eight or more give the variance to a quarter. The warm-up must be
    several memory times of the state: remaining effects of the initial state are the same in all starts, so that
    the variance doesn't show them (`converged` does if they are large).

        xs = jax.random.normal(key, (2000, 8, 1))
        found = exponents_over_starts(GRU(16), params, xs, warmup=500)
        found.exponents[0, 0], found.half_widths[0, 0]  # λ₁ ± half the 95 % interval

    Raises ValueError as `lyapunov_spectrum` and `summarise_starts` do.
    """
    spectrum = partial(lyapunov_spectrum, cell, params, k=k, warmup=warmup, qr_every=qr_every, key=key)
    spectra = jax.vmap(spectrum, in_axes=(1, None if states is None else 0))(xs, states)
    return summarise_spectra(spectra, tolerance=tolerance, absolute=absolute)


def summarise_spectra(
    spectra: LyapunovSpectrum, *, tolerance: float = 0.05, absolute: float = 1e-4
) -> StartsSummary:
    """Summarises spectra along N trajectories, as returned by `jax.vmap` of `lyapunov_spectrum`.

    Raises ValueError if trajectories are too short to be halved.
    """
    exponents = np.asarray(spectra.exponents, np.float64)
    running = np.asarray(spectra.running, np.float64)
    points = running.shape[1]
    if points < 2:
        raise ValueError("a trajectory of one stretch can't be halved: give a longer one, or reduce qr_every")
    half = points // 2
    with np.errstate(invalid="ignore"):  # −∞ less −∞, where an exponent is lost
        first, total = running[:, half - 1] * half, running[:, -1] * points
        halves = np.stack([first / half, (total - first) / (points - half)], axis=1)
    errors = np.asarray(spectra.standard_errors, np.float64)
    return summarise_starts(exponents, halves, errors, tolerance=tolerance, absolute=absolute)
