"""What is measured of a cell or a trained model: arrays in, arrays out."""

from analysis.exponents import LyapunovSpectrum
from analysis.gradient_flow import gradient_by_lag, log_slope, state_gradients
from analysis.jacobian import (
    jacobian_eigenvalues,
    jacobian_singular_values,
    log_condition_numbers,
    log_norms,
    spectral_radius,
    step_jacobians,
)
from analysis.lyapunov import lyapunov_spectrum
from analysis.maps import CatMap, HenonMap, LogisticMap, Lorenz
from analysis.matrix_free import leading_singular_values
from analysis.products import product_spectrum

__all__ = [
    "CatMap",
    "HenonMap",
    "LogisticMap",
    "Lorenz",
    "LyapunovSpectrum",
    "gradient_by_lag",
    "jacobian_eigenvalues",
    "jacobian_singular_values",
    "leading_singular_values",
    "log_condition_numbers",
    "log_norms",
    "log_slope",
    "lyapunov_spectrum",
    "product_spectrum",
    "spectral_radius",
    "state_gradients",
    "step_jacobians",
]
