"""The simple recurrent network."""

from dataclasses import dataclass
from typing import ClassVar

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
from models.initializers import Glorot, Identity, Initializer, Orthogonal


@dataclass(frozen=True)
class Elman(ProductCell):
    """h_t = φ(x_t W + h_{t−1} R + b),   y_t = h_t.   Elman 1990.

    φ is `activation`: tanh, relu, sigmoid, identity, or a function of an array.
    Parameters: `kernel` W `[D, H]`, `recurrent` R `[H, H]`, `bias` b `[H]`. State and output: h `[*batch, H]`.

    Examples:
        >>> cell = Elman(hidden_size=4, activation="relu")
        >>> {name: leaf.shape for name, leaf in cell.init(jax.random.key(0), input_size=3).items()}
        {'kernel': (3, 4), 'recurrent': (4, 4), 'bias': (4,)}
    """

    additive: ClassVar[bool] = True
    hidden_size: int
    activation: str | Activation = "tanh"
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        activation(self.activation)

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_input, key_recurrent = jax.random.split(key)
        return {
            "kernel": self.kernel_init(key_input, (input_size, self.hidden_size)),
            "recurrent": self.recurrent_init(key_recurrent, (self.hidden_size, self.hidden_size)),
            "bias": jnp.zeros(self.hidden_size),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size), params["recurrent"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def pointwise(self, weights: Weights, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        h = activation(self.activation)(drive + r)
        return h, h

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns `hidden`, the units after the step, of which the saturated fraction is computed."""
        h, _ = self.step(weights, state, drive)
        return {"hidden": h}


def irnn(hidden_size: int, gain: float = 1.0) -> Elman:
    """Returns the identity-initialised ReLU net: R = `gain` I at initialisation, so that without input the units
    stay constant. Le, Jaitly & Hinton 2015, who draw W from N(0, 0.001²); here it is Glorot's."""
    return Elman(hidden_size, activation="relu", recurrent_init=Identity(gain))
