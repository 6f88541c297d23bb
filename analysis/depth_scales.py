"""The depth scales of mean-field theory, over which a tanh net carries a difference of two inputs, and a gradient.

Two states of one net, of variance q each and correlation c, have one step later the correlation

    c' = (σ_w² E[tanh(u₁) tanh(u₂)] + σ²) / q,   u₁, u₂ Gaussian of variance q and correlation c

where σ² is the variance of their common input: the biases, or the same noise. c = 1 is always a fixed point, with
slope χ₁ = χ of `analysis/mean_field.py`. If χ₁ < 1, the states of all inputs become equal (order); if χ₁ > 1, it is
unstable, and all pairs converge to the same c* < 1 (chaos). Either way the difference decays asymptotically as

    |c_t − c*| ∼ e^(−t/ξ_c),   1/ξ_c = −ln χ_c*,   χ_c* = σ_w² E[(1 − tanh² u₁)(1 − tanh² u₂)] at c*

and the squared norm of a gradient changes as e^(∓t/ξ_∇), 1/ξ_∇ = |ln χ₁|. Both lengths are infinite only at the
edge of chaos. Poole et al. 2016; Schoenholz et al. 2017, "Deep information propagation", who find that nets are
trainable up to a depth of about 6 ξ_c; for recurrent nets Chen, Pennington & Schoenholz 2018. As N → ∞ the theory
holds for recurrent nets too, although their matrix is the same at every step.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.mean_field import Numbers, Values, gaussian_mean, tanh_mean_field

HALVINGS = 50  # of the interval of c*, by bisection


@dataclass(frozen=True)
class DepthScales:
    """The correlation c* to which all pairs of inputs converge, χ_c*, and the lengths in steps over which a
    difference of inputs (`signal`, ξ_c) and the square of a gradient (`gradient`, ξ_∇) change by a factor e: ∞ at
    the edge of chaos, 0 if they vanish in one step. Arrays of the broadcast shape of σ_w and σ."""

    correlation: Numbers
    chi: Numbers
    signal: Numbers
    gradient: Numbers


def depth_scales(sigma_w: Values, sigma: Values) -> DepthScales:
    """Computes the depth scales of a tanh net with recurrent gain σ_w and biases of standard deviation σ.

    c* = 1 and ξ_c = ξ_∇ for χ₁ ≤ 1. (c' is a convex function of c in [0, 1], so there is at most one other fixed
    point.)

    Raises ValueError if a gain or deviation is negative or not finite.
    """
    gain, noise = np.broadcast_arrays(np.asarray(sigma_w, np.float64), np.asarray(sigma, np.float64))
    field = tanh_mean_field(gain, noise)
    chaotic = field.chi > 1
    q = np.where(chaotic, field.q, 1.0)  # q can be 0 in the ordered phase, where the answer is known

    low, high = np.zeros(gain.shape), np.ones(gain.shape)
    for _ in range(HALVINGS):
        c = (low + high) / 2
        below = c * q >= gain**2 * pair_mean(np.tanh, q, c) + noise**2
        low, high = np.where(below, low, c), np.where(below, c, high)
    c = np.where(chaotic, low, 1.0)
    chi = np.where(chaotic, gain**2 * pair_mean(slope, q, c), field.chi)
    return DepthScales(c, chi, length(chi), length(field.chi))


def pair_mean(function: Callable[[Numbers], Numbers], variance: Values, correlation: Values) -> Numbers:
    """Computes E[f(u₁) f(u₂)] for u₁, u₂ with a variance and a correlation c ≥ 0: both are √c x + √(1 − c) y with
    a common x and independent y, so that it is E_x[(E_y f)²]."""
    q, c = np.broadcast_arrays(np.asarray(variance, np.float64), np.asarray(correlation, np.float64))

    def squared(shared: Numbers) -> Numbers:
        private = q * (1 - c)
        variances = np.broadcast_to(private[..., None], shared.shape)
        return conditional_mean(function, shared, variances) ** 2

    return gaussian_mean(squared, q * c)


def conditional_mean(function: Callable[[Numbers], Numbers], centre: Numbers, variance: Numbers) -> Numbers:
    """Computes E[f(m + √v z)] for every centre m and variance v."""
    return gaussian_mean(lambda x: function(centre[..., None] + x), variance)


def slope(x: Numbers) -> Numbers:
    """Computes 1 − tanh² x, from cosh."""
    return np.cosh(np.clip(x, -300, 300)) ** -2.0


def length(chi: Numbers) -> Numbers:
    """Computes 1 / |ln χ|: 0 for χ = 0, ∞ for χ = 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(1 / np.abs(np.log(chi)))
