"""Figures: arrays in, matplotlib figures out, without computation.

Here are those that a notebook begins with; all others are imported from their module.
"""

from analysis.figures.curves import loss_curves, training_curves
from analysis.figures.exponents import exponents_before_and_after
from analysis.figures.gradients import eigenvalues_in_plane, gradient_against_lag, singular_values_against_lag
from analysis.figures.style import save

__all__ = [
    "eigenvalues_in_plane",
    "exponents_before_and_after",
    "gradient_against_lag",
    "loss_curves",
    "save",
    "singular_values_against_lag",
    "training_curves",
]
