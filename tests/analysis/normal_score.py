"""Errors in units of their estimate, few degrees of freedom or many, as standard normal numbers."""

import numpy as np
import scipy
from jaxtyping import Float, Int


def normal_score(t: Float[np.ndarray, "*n"], freedom: Int[np.ndarray, "*n"] | int) -> Float[np.ndarray, "*n"]:
    """Computes z = Φ⁻¹(F_t(t)), the standard normal value with the same quantile as t under Student's t: |z| < 2 in
    95.4 % and ⟨z²⟩ = 1 for any degrees of freedom, while t = (estimate − truth)/error has longer tails for few."""
    return np.sign(t) * scipy.stats.norm.isf(scipy.stats.t.sf(np.abs(t), freedom))
