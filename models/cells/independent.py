"""The independently recurrent network: every unit is recurrent in itself alone."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from models.cell import (
    Activation,
    Array,
    BatchShape,
    Key,
    Params,
    ProductCell,
    Weights,
    activation,
    affine,
    check_at_least,
)
from models.cells.layer_norm import scale
from models.initializers import Glorot, Initializer


@dataclass(frozen=True)
class IndRNN(ProductCell):
    """h_t = φ(x_t W + u ∘ h_{t−1} + b),   y_t = h_t.   Li, Li, Cook, Zhu & Gao 2018.

    Units interact in the next layer only, so it is meant for stacks. φ is `activation`, as in Elman. u is drawn
    from U(`low`, `high`). A gradient over T steps is scaled by u^T: for lags up to T the paper uses U(0,
    2^(1/T)), in the last layer U(2^(−1/T), 2^(1/T)), and clips |u| ≤ 2^(1/T) in training; here u is not bounded.
    Parameters: `kernel` W `[D, H]`, `recurrent` u `[H]`, `bias` b `[H]`. State and output: h `[*batch, H]`.
    In the product form R is `[H, 0]`: there is no product, and u is in the local part.
    """

    hidden_size: int
    activation: str | Activation = "relu"
    low: float = 0.0
    high: float = 1.0
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        activation(self.activation)
        if not self.low <= self.high:
            raise ValueError(f"low must not be above high, but they are {self.low} and {self.high}")

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_input, key_recurrent = jax.random.split(key)
        size = self.hidden_size
        return {
            "kernel": self.kernel_init(key_input, (input_size, size)),
            "recurrent": jax.random.uniform(key_recurrent, (size,), minval=self.low, maxval=self.high),
            "bias": jnp.zeros(size),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), params["recurrent"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Array:
        return jnp.zeros((self.hidden_size, 0), weights["recurrent"].dtype)

    def pointwise(self, weights: Weights, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        h = activation(self.activation)(drive + scale(state, weights["recurrent"]))
        return h, h

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns `hidden`, the units after the step."""
        return {"hidden": self.step(weights, state, drive)[0]}
