"""Measurements of `jacobian_spectra`, of one net along its held-out sequences."""

from typing import Any

import numpy as np

from analysis import (
    elman_deviations,
    jacobian_eigenvalues,
    leading_singular_values,
    log_norms,
    product_spectrum,
    rest_exponent,
    step_jacobians,
    tanh_mean_field_path,
)
from models import Cell
from models.cell import Array, Params

MANY = 64  # beyond so many lags only some are measured


def measured_lags(steps: int) -> np.ndarray:
    """Lists all lags 1 … T, or of many those a constant factor apart."""
    if steps <= MANY:
        return np.arange(1, steps + 1)
    return np.unique(np.round(np.geomspace(1, steps, MANY)).astype(int))


def measure(cell: Cell, params: Params, along: Array) -> dict[str, Any]:
    """Measures along sequences `[T, M, D]`: `spectra [M, K, S]`, natural logarithms of the singular values of the
    products at the measured lags; `eigenvalues [T, S]` of the steps along the first; `matrix_free`, ln of the
    largest singular value over all steps along it, found without a Jacobian (NaN where that doesn't settle)."""
    lags = measured_lags(len(along))
    jacobians = [np.asarray(step_jacobians(cell, params, along[:, i])) for i in range(along.shape[1])]
    try:
        leading = leading_singular_values(cell, params, along[:, 0], k=1)[0]
    except ValueError:
        leading = np.nan
    return {
        "spectra": np.stack([product_spectrum(js, [int(lag) for lag in lags]) for js in jacobians]),
        "eigenvalues": jacobian_eigenvalues(jacobians[0]),
        "matrix_free": leading,
    }


def tanh_theory(cell: Cell, params: Params, along: Array) -> np.ndarray | None:
    """Returns ln of the root mean square of the singular values that mean-field theory gives at the measured lags,
    `[K]`: the sum of ½ ln χ_t over the steps multiplied. None where the cell is no tanh net."""
    try:
        gain, deviations = elman_deviations(cell, params, along)
    except ValueError:
        return None
    exponents = tanh_mean_field_path(gain, deviations).exponent
    return np.cumsum(exponents[::-1])[measured_lags(len(along)) - 1]


def log_rms(spectra: np.ndarray) -> np.ndarray:
    """Returns ln √(mean σ²) from logarithms of singular values, `[..., S]` → `[...]`."""
    return log_norms(spectra, "frobenius") - np.log(spectra.shape[-1]) / 2


def rest_theory(cell: Cell, params: Params) -> float | None:
    """Returns the leading exponent of the cell at rest, nats per step; None where no theory of it is known."""
    try:
        return rest_exponent(cell, params)
    except ValueError:
        return None
