"""Gated units whose gates depend on the input alone, so that they are linear in their state."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus

from models.cell import Array, BatchShape, Key, LinearCell, Params, Weights, affine, check_at_least
from models.initializers import Glorot, Initializer, gate_blocks


@dataclass(frozen=True)
class MinGRU(LinearCell):
    """Feng et al. 2024:

        z_t = σ(x_t W_z + b_z)
        n_t = g(x_t W_n + b_n)
        h_t = (1 − z_t) ∘ h_{t−1} + z_t ∘ n_t,   y_t = h_t

    g(x) = x + ½ for x ≥ 0 and σ(x) below, so that h stays positive, as the paper's logarithmic form needs; h_0
    is then g(0) = ½. With `positive=False` g is the identity and h_0 = 0. 1 − z is computed as σ(−·), so that a and
    b have full relative accuracy however saturated the gate is.
    Parameters, packed z, n: `kernel [D, 2H]`, `bias [2H]`. State and output: h `[*batch, H]`.
    """

    hidden_size: int
    positive: bool = True
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        return {
            "kernel": gate_blocks(self.kernel_init, key, input_size, self.hidden_size, gates=2),
            "bias": jnp.zeros(2 * self.hidden_size),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        start = 0.5 if self.positive else 0.0
        return jnp.full((*batch_shape, self.hidden_size), start, params["bias"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def coefficients(self, weights: Weights, drive: Array) -> tuple[Array, Array]:
        z, n = jnp.split(drive, 2, axis=-1)
        return sigmoid(-z), sigmoid(z) * (above_zero(n) if self.positive else n)

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns `update`, the gate z."""
        return {"update": sigmoid(jnp.split(drive, 2, axis=-1)[0])}


@dataclass(frozen=True)
class MinLSTM(LinearCell):
    """Feng et al. 2024:

        f_t = σ(x_t W_f + b_f),   i_t = σ(x_t W_i + b_i)
        n_t = g(x_t W_n + b_n)
        h_t = (f_t ∘ h_{t−1} + i_t ∘ n_t) / (f_t + i_t),   y_t = h_t

    g and h_0 as in MinGRU. f/(f + i) = σ(ln f − ln i), with ln σ(x) = −softplus(−x), so that neither gate can
    underflow.
    Parameters, packed f, i, n: `kernel [D, 3H]`, `bias [3H]`. State and output: h `[*batch, H]`.
    """

    hidden_size: int
    positive: bool = True
    forget_bias: float = 1.0
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        size = self.hidden_size
        return {
            "kernel": gate_blocks(self.kernel_init, key, input_size, size, gates=3),
            "bias": jnp.zeros(3 * size).at[:size].set(self.forget_bias),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        start = 0.5 if self.positive else 0.0
        return jnp.full((*batch_shape, self.hidden_size), start, params["bias"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def coefficients(self, weights: Weights, drive: Array) -> tuple[Array, Array]:
        f, i, n = jnp.split(drive, 3, axis=-1)
        log_ratio = softplus(-i) - softplus(-f)  # ln f − ln i
        return sigmoid(log_ratio), sigmoid(-log_ratio) * (above_zero(n) if self.positive else n)

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns the effective gates, whose sum is 1: `forget` f/(f + i) and `input` i/(f + i)."""
        forget, _ = self.coefficients(weights, drive)
        return {"forget": forget, "input": 1 - forget}


def above_zero(x: Array) -> Array:
    """Computes g(x) = x + ½ for x ≥ 0, σ(x) below: positive, continuous, and with ∂g ≥ ¼ to the right of zero."""
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))
