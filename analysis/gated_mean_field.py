"""Mean-field theory of any cell of the product form with an elementwise local part: GRU, LSTM, your own.

As N → ∞ with R_ij ~ N(0, σ_w²/N), the recurrent input of a unit, r = Σ_j R_ij h_j, is a Gaussian process,
independent between units and gates, whose covariance is determined self-consistently:

    r_t Gaussian, ⟨r_t r_s⟩ = σ_w² ⟨h_t h_s⟩,            s_t = pointwise(s_{t−1}, drive_t, r_t)
    γ_t Gaussian, ⟨γ_t γ_s⟩ = Σ_gates σ_w² ⟨r̄_t r̄_s⟩,    s̄_{t−1} = (∂s_t/∂s_{t−1})ᵀ s̄_t + (∂h/∂s)ᵀ γ_t

(h: the input of R; r̄, s̄: the gradients in r and s; γ = R r̄; ⟨ ⟩ is over units.) Both are solved by a
population of units, each with its own process, one time step after the other: the average over the population is
the covariance of the next step. So the theory needs only the variance of the matrix.

The covariances between steps express that the weights are the same at every step. For tanh nets driven by noise
they have no effect, and the theory is that of `analysis/mean_field.py`. For gated cells they matter: a gate that
is open now was probably open before. Chen, Pennington & Schoenholz 2018 (minimalRNN) and Gilboa et al. 2019
(LSTM, GRU) neglect them (weights redrawn at every step), and then ½ ln χ, with χ the mean squared singular value
of a step Jacobian, is the slope; with them: Can, Krishnamurthy & Schwab 2020; Krishnamurthy, Can & Schwab 2022.
Independence of the gradients' process from the signals' is justified by Yang 2019, "Tensor Programs I".
"""

import math
from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jaxtyping import Float

from models.cell import Array, Cell, Drive, Key, Params, ProductCell, State, Weights, check_at_least
from models.recurrence.fused import can_fuse

FLOOR = 1e-10  # smallest relative innovation of a step, so that the covariance factor is invertible


@dataclass(frozen=True)
class PopulationTheory:
    """The theory's predictions for a cell: `variance [T]` is ⟨h_t²⟩ over units, `log_gradients [T]` the natural
    logarithm of ‖∂L/∂s_{T−k}‖ / ‖v‖ at lags k = 1 … T (root mean square over examples) for L = ⟨v, h_T⟩ with random
    v, where h is the input of the cell's matrix."""

    variance: Float[np.ndarray, " T"]
    log_gradients: Float[np.ndarray, " T"]


def population_theory(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T B D"],
    key: Key,
    *,
    tied: bool = True,
    population: int = 16384,
) -> PopulationTheory:
    """Solves the theory with a population of units: the cell's own biases and drives, repeated until there are at
    least `population`, with Gaussian processes of the variance of its matrix (per gate) in place of the product.

    `tied=False` redraws the weights at each step, as Chen et al. 2018 and Gilboa et al. 2019 assume. The error is
    that of averages over the population and grows with the lag. Time: T² · G · `population`; memory:
    20 · T · G · `population` bytes.

    Raises ValueError for a cell that isn't of the product form with an elementwise local part and a matrix
    `[H, G·H]`.
    """
    check_at_least(1, population=population)
    size = cell.recurrent_matrix(cell.prepare(params)).shape[0] if isinstance(cell, ProductCell) else 1
    xs = jnp.tile(xs, (1, math.ceil(population / (xs.shape[1] * size)), 1))
    length, batch, _ = xs.shape
    state = cell.initial_state(params, (batch,))
    weights = cell.prepare(params)
    if not (isinstance(cell, ProductCell) and can_fuse(cell, weights, state, xs) and cell.elementwise):
        raise ValueError(
            f"the theory needs a ProductCell whose local part is elementwise, which {cell} is not"
        )
    gains = gate_deviations(np.asarray(cell.recurrent_matrix(weights), np.float64))[:, None]
    gates = len(gains)
    draws = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))))
    drive = cell.drive(weights, xs)

    process, variance, steps = Process(draws, (batch, gates, size), tied), [], []
    for t in range(length):
        r = gains * process.draw(np.asarray(cell.recurrent_input(weights, state)))
        arguments = (
            state,
            jax.tree.map(lambda leaf, t=t: leaf[t], drive),
            cast_like(r, xs).reshape(batch, -1),
        )
        state, recurrent_input = forward(cell, weights, *arguments)
        variance.append(np.mean(np.square(np.asarray(recurrent_input, np.float64))))
        steps.append(arguments)

    process, log_gradients, log_scale = Process(draws, (batch, size), tied), [], 0.0
    v = draws.normal(size=(batch, size))
    gradient = pull_to_state(cell, weights, state, cast_like(v / np.sqrt(np.mean(v**2)), xs))
    for state, drive_t, r in reversed(steps):
        in_state, in_r = backward(cell, weights, state, drive_t, r, gradient)
        gamma = process.draw(gains * np.asarray(in_r).reshape(batch, gates, size))
        gradient = jax.tree.map(jnp.add, in_state, pull_to_state(cell, weights, state, cast_like(gamma, xs)))
        # Normalised to size one per unit, so that nothing underflows; the process is linear in the gradients.
        norm = float(optax.tree.norm(gradient)) / math.sqrt(batch * size)
        gradient = jax.tree.map(lambda leaf, norm=norm: leaf / norm, gradient)
        log_scale += math.log(norm)
        log_gradients.append(log_scale)
    return PopulationTheory(np.array(variance), np.array(log_gradients))


@dataclass
class Process:
    """Draws, step by step, a Gaussian process with the covariance of given signals: ⟨r_t r_s⟩ =
    Σ signal_t signal_s / (B·H). `shape` is that of a draw, `[B, ..., H]`, whose entries are independent.

    The factor L of the covariance grows by a row per step, and r_t = Σ_s L_ts ξ_s with white ξ.
    """

    draws: np.random.Generator
    shape: tuple[int, ...]
    tied: bool
    signals: list[np.ndarray] = field(default_factory=list)
    noises: list[np.ndarray] = field(default_factory=list)
    factor: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def draw(self, signal: np.ndarray) -> np.ndarray:
        """Draws the process at this step, conditioned on its past."""
        units = self.shape[0] * self.shape[-1]
        signal, noise = np.asarray(signal, np.float64).ravel(), self.draws.normal(size=self.shape)
        if not self.tied:
            return np.sqrt(signal @ signal / units) * noise
        self.signals.append(signal)
        self.noises.append(noise.astype(np.float32))
        covariance = np.array([other @ signal for other in self.signals]) / units
        row = scipy.linalg.solve_triangular(self.factor, covariance[:-1], lower=True)
        innovation = max(covariance[-1] - row @ row, FLOOR * covariance[-1], np.finfo(float).tiny)
        self.factor = np.block(
            [[self.factor, np.zeros((len(row), 1))], [row[None], np.array([[innovation**0.5]])]]
        )
        return np.tensordot(self.factor[-1], np.stack(self.noises), 1)


@partial(jax.jit, static_argnums=0)
def forward(cell: ProductCell, weights: Weights, state: State, drive: Drive, r: Array) -> tuple[State, Array]:
    """Computes s_t from s_{t−1} and r, and the next recurrent input."""
    state, _ = cell.pointwise(weights, state, drive, r)
    return state, cell.recurrent_input(weights, state)


@partial(jax.jit, static_argnums=0)
def backward(
    cell: ProductCell, weights: Weights, state: State, drive: Drive, r: Array, gradient: State
) -> tuple[State, Array]:
    """Computes the gradients in s_{t−1}, at constant r, and in r, from that in s_t."""
    _, pull = jax.vjp(lambda state, r: cell.pointwise(weights, state, drive, r)[0], state, r)
    return pull(gradient)


@partial(jax.jit, static_argnums=0)
def pull_to_state(cell: ProductCell, weights: Weights, state: State, gradient: Array) -> State:
    """Computes the gradient in the state from that in its recurrent input."""
    return jax.vjp(lambda state: cell.recurrent_input(weights, state), state)[1](gradient)[0]


def gate_deviations(matrix: np.ndarray) -> np.ndarray:
    """Computes σ_w of every gate, `[G]`: σ_w² = H ⟨R_ij²⟩ over its block. Raises ValueError for a block-diagonal
    matrix."""
    if matrix.ndim != 2:
        raise ValueError(f"the recurrent matrix must be [H, G·H], but is {list(matrix.shape)}")
    size = len(matrix)
    return np.sqrt(size * np.mean(matrix.reshape(size, -1, size) ** 2, axis=(0, 2)))


def cast_like(values: np.ndarray, like: Array) -> Array:
    return jnp.asarray(values, like.dtype)


def gated_spectral_radius(
    diagonal: Float[np.ndarray, " N"], gain: Float[np.ndarray, " N"], sigma_w: float
) -> float:
    """Computes the largest real part z of the eigenvalues of J = diag(a) + diag(b) R as N → ∞, for `diagonal` a ≥ 0
    and `gain` b:

        σ_w² ⟨b² / (z − a)²⟩ = 1,   z > max a

    For equal a and b it is a + σ_w b. At a fixed point of a GRU, where h = n, a is the update gate z, and at
    constant reset gate r, b = (1 − z) r (1 − n²): the net loses stability where z = 1. The edge of the spectrum
    of a random matrix with a diagonal: Ahmadian, Fumarola & Miller 2015; of GRU and LSTM: Can, Krishnamurthy &
    Schwab 2020.

    Raises ValueError if the arrays differ in shape or a is negative.
    """
    if diagonal.shape != gain.shape or np.any(diagonal < 0):
        raise ValueError("diagonal must not be negative, and gain must have the same shape [N]")

    def excess(z: float) -> float:
        return float(sigma_w**2 * np.mean((gain / (z - diagonal)) ** 2)) - 1

    low, reach = float(np.max(diagonal)), sigma_w * float(np.max(np.abs(gain)))
    lower = low + 1e-9 * max(reach, 1.0)  # if the mean is below one here, no eigenvalue exceeds max a
    if reach == 0 or excess(lower) < 0:
        return low
    return float(
        scipy.optimize.root_scalar(
            excess, bracket=(lower, low + reach * (1 + 1e-9) + 1e-9), method="brentq"
        ).root
    )
