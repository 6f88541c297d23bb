"""What is measured of a cell or a trained model: arrays in, arrays out."""

from analysis.gradient_flow import gradient_by_lag, log_slope, state_gradients
from analysis.jacobian import jacobian_eigenvalues, spectral_radius, step_jacobians
from analysis.products import product_spectrum

__all__ = [
    "gradient_by_lag",
    "jacobian_eigenvalues",
    "log_slope",
    "product_spectrum",
    "spectral_radius",
    "state_gradients",
    "step_jacobians",
]
