"""Mean-field theory of signals and gradients in infinitely wide random tanh nets.

Two forms of the same net, with preactivations x:

    x_t = J tanh(x_{t−1}) + σ ξ_t,   J_ij ~ N(0, σ_w²/N), ξ ~ N(0, 1)
    h_t = tanh(x_t),   x_t = W h_{t−1} + U u_t + b

(Sompolinsky, Crisanti & Sommers 1988; our Elman, and in depth for time Poole et al. 2016.)
In both x is Gaussian over units, with a variance q that satisfies

    q = σ_w² E[tanh²(√q z)] + σ²,   χ = σ_w² E[(1 − tanh²(√q z))²],   z ~ N(0, 1),

where σ² is the variance of the external input: that of the noise in the first form, σ_u² ⟨u²⟩ + σ_b² in the second.
A small difference between two states grows by the factor √χ per step, and a gradient by the same factor per step
back: λ₁ = ½ ln χ, for a driven net and, as N → ∞, for an autonomous one (Molgedey, Schuchhardt & Schuster 1992).
χ = 1 separates order from chaos, and only there do gradients neither vanish nor explode.

Everything is computed in float64 by NumPy and broadcasts over arrays of σ_w and σ.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from models.cell import Array, Cell, Params, ProductCell, check_at_least

Numbers = NDArray[np.float64]
Values = ArrayLike | float  # beartype reads `complex` in ArrayLike as complex alone
REACH = 9.0  # standard deviations, beyond which a Gaussian has a mass of 1e-19
HALVINGS = 80  # of the interval of q, by bisection


@dataclass(frozen=True)
class MeanField:
    """Order parameters of a net: the variance q of its units, χ, and the exponent λ₁ = ½ ln χ (natural log per
    step), which is also the slope of the logarithm of the gradient's norm against the lag. Arrays of the broadcast
    shape of σ_w and σ."""

    q: Numbers
    chi: Numbers

    @property
    def exponent(self) -> Numbers:
        """λ₁ = ½ ln χ; −∞ if all gradients are zero."""
        with np.errstate(divide="ignore"):
            return np.asarray(0.5 * np.log(self.chi))


def gaussian_mean(function: Callable[[Numbers], Numbers], variance: Values) -> Numbers:
    """Computes E[f(√q z)] over z ~ N(0, 1), for every variance q.

    By the trapezoid rule, which for an analytic f converges faster than any power of its spacing s: for tanh, with
    poles at ±iπ/2, the error falls as exp(−π²/(√q s)). (Gauss–Hermite nodes spread over √n standard deviations, and
    their spacing falls only as 1/√n: for √q = 10 it would take 3,000 of them.)
    """
    q = np.asarray(variance, np.float64)
    spacing = 0.2 / max(1.0, float(np.sqrt(np.max(q, initial=0.0))))
    z = np.arange(-np.ceil(REACH / spacing), np.ceil(REACH / spacing) + 1) * spacing
    weights = np.exp(-(z**2) / 2) * spacing / np.sqrt(2 * np.pi)
    return np.asarray(function(np.sqrt(q)[..., None] * z) @ weights)


def tanh_squared(x: Numbers) -> Numbers:
    return np.tanh(x) ** 2


def slope_squared(x: Numbers) -> Numbers:
    """Computes (1 − tanh² x)² from cosh, as 1 − tanh² loses its digits where tanh is near one."""
    return np.cosh(np.clip(x, -80, 80)) ** -4.0


def tanh_mean_field(sigma_w: Values, sigma: Values) -> MeanField:
    """Computes the order parameters of a tanh net with recurrent gain σ_w and a drive of standard deviation σ.

    Without drive, q = 0 for σ_w ≤ 1, where the net comes to rest; for σ_w > 1 the rest state is unstable and q is
    the other solution. (The right side is concave in q, so there is no third.)

    Raises ValueError if a gain or deviation is negative or not finite.
    """
    gain, noise = np.broadcast_arrays(np.asarray(sigma_w, np.float64), np.asarray(sigma, np.float64))
    check_deviations(gain, noise)
    low, high = np.zeros(gain.shape), np.asarray(gain**2 + noise**2)
    for _ in range(HALVINGS):
        q = (low + high) / 2
        above = q >= gain**2 * gaussian_mean(tanh_squared, q) + noise**2
        low, high = np.where(above, low, q), np.where(above, q, high)
    q = np.where((noise == 0) & (gain <= 1), 0.0, low)
    return MeanField(q, np.asarray(gain**2 * gaussian_mean(slope_squared, q)))


def log_slope_squared(x: Numbers) -> Numbers:
    """Computes ln (1 − tanh² x) = 2 (ln 2 − |x| − ln(1 + e^(−2|x|))), as the slope itself would underflow."""
    return 2 * (np.log(2) - np.abs(x) - np.log1p(np.exp(-2 * np.abs(x))))


def tanh_mean_exponent(sigma_w: Values, sigma: Values, size: int | None = None) -> Numbers:
    """Computes the mean of all Lyapunov exponents of a tanh net, ⟨ln |det J|⟩ / N, natural log per step:

        ln σ_w + c_N + E[ln(1 − tanh²(√q z))],   c_N = (1/2N) Σ_i [ln(2/N) + ψ(i/2)],   i = 1 … N

    A step's Jacobian is W times the diagonal of the slopes, and |det| of a Gaussian W is a product of χ variables
    (Goodman 1963), which gives c_N, −½ as N → ∞ (`size` None). If the mean is negative, volumes shrink, by Σλ = N
    times it per step. −∞ without weights.

    Raises ValueError if a gain or deviation is negative or not finite, or `size` is below 1.
    """
    field, gain = tanh_mean_field(sigma_w, sigma), np.asarray(sigma_w, np.float64)
    correction = -0.5
    if size is not None:
        check_at_least(1, size=size)
        correction = float(np.mean(np.log(2 / size) + scipy.special.digamma(np.arange(1, size + 1) / 2))) / 2
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(gain) + correction + gaussian_mean(log_slope_squared, field.q))


def tanh_mean_field_path(sigma_w: float, sigma: Float[np.ndarray, " T"] | Array, q: float = 0.0) -> MeanField:
    """Computes q and χ for each step, `[T]`, for a drive of changing deviation `sigma [T]`; `q` is the initial one.

    q_t = σ_w² E[tanh²(√q_{t−1} z)] + σ_t², χ_t = σ_w² E[(1 − tanh²(√q_t z))²]: the gradient in h_{t−1} is √χ_t
    times that in h_t, so that the logarithm of its norm k steps back is the sum of the last k exponents.
    """
    noise = np.asarray(sigma, np.float64)
    check_deviations(np.asarray(sigma_w), noise)
    variances = np.empty(noise.shape)
    for t, deviation in enumerate(noise):
        q = float(sigma_w**2 * gaussian_mean(tanh_squared, q) + deviation**2)
        variances[t] = q
    return MeanField(variances, np.asarray(sigma_w**2 * gaussian_mean(slope_squared, variances)))


def edge_of_chaos(sigma: Values) -> Numbers:
    """Computes the gain σ_w at which χ = 1, for every deviation σ of the drive: 1 without drive, more with it.

    χ(q, σ_w) = 1 gives σ_w as a function of q, which leaves one equation for q.
    """
    noise = np.asarray(sigma, np.float64)
    check_deviations(noise, noise)

    def gain_at(q: float) -> float:
        return float(gaussian_mean(slope_squared, q)) ** -0.5

    def excess(q: float, variance: float) -> float:
        return q - gain_at(q) ** 2 * float(gaussian_mean(tanh_squared, q)) - variance

    def critical(deviation: float) -> float:
        if deviation == 0:
            return 1.0
        high = 1.0
        while excess(high, deviation**2) < 0:
            high *= 2
        found = scipy.optimize.root_scalar(
            excess, args=(deviation**2,), bracket=(0.0, high), method="brentq", xtol=1e-14
        )
        return gain_at(float(found.root))

    return np.asarray(np.vectorize(critical, otypes=[np.float64])(noise))


def elman_deviations(
    cell: Cell, params: Params, xs: Float[Array, "T *batch D"]
) -> tuple[float, Float[np.ndarray, " T"]]:
    """Computes the parameters of the theory from an Elman net and its inputs: the gain σ_w, and the deviation of
    the drive at each step, `[T]`.

    σ_w² = H ⟨R_ij²⟩, which initially is g² for both `Gaussian(g)` and `Orthogonal(g)` and 2H/(H + H) = 1 for
    Glorot; σ_t² = ⟨(x_t W + b)²⟩ over units and examples, which for inputs of unit variance and W of variance
    σ_u²/D is σ_u² + σ_b². The theory assumes that the drive is Gaussian over units with mean zero, and that R is
    independent of it, which holds at initialisation and less and less during training.

    Raises ValueError for a cell that isn't a tanh net with one square matrix.
    """
    if not (isinstance(cell, ProductCell) and cell.additive and getattr(cell, "activation", None) == "tanh"):
        raise ValueError(f"the mean-field theory of tanh nets is for an Elman cell with tanh, not for {cell}")
    weights = cell.prepare(params)
    matrix = np.asarray(cell.recurrent_matrix(weights), np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"the recurrent matrix must be [H, H], but is {list(matrix.shape)}")
    drive = np.asarray(cell.drive(weights, xs), np.float64)
    deviations = np.sqrt(np.mean(drive.reshape(len(drive), -1) ** 2, axis=1))
    return float(np.linalg.norm(matrix) / np.sqrt(len(matrix))), deviations


def check_deviations(gain: Numbers, noise: Numbers) -> None:
    """Raises ValueError if a gain or a deviation is negative or not finite."""
    for name, values in (("σ_w", gain), ("σ", noise)):
        if not (np.isfinite(values) & (values >= 0)).all():
            raise ValueError(f"{name} is a standard deviation, at least 0 and finite, but is {values}")
