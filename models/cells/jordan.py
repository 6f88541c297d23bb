"""Jordan's network, which feeds back its output in place of its hidden units."""

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
from models.initializers import Glorot, Initializer, Orthogonal


@dataclass(frozen=True)
class Jordan(ProductCell):
    """The network that reads its last output through context units s:

        h_t = φ(x_t W + s_{t−1} R + b)
        y_t = ψ(h_t V + c)
        s_t = α s_{t−1} + y_t            α = `decay`; 0, the default, makes it the last output alone

    Jordan 1986. φ is `activation` and ψ `output_activation`, as in Elman; y has O = `output_size` units (H by
    default). The readout is inside, so none need follow: choose O for the task, and ψ for its loss.
    Parameters: `kernel` W `[D, H]`, `recurrent` R `[O, H]`, `bias` b `[H]`, `readout` V `[H, O]`, `readout_bias` c
    `[O]`. State: s `[*batch, O]`. Output: y `[*batch, O]`.

    Teacher forcing feeds back the target in place of the output: after a step from `state`, continue from
    `cell.feed(state, target)` in place of the returned state. Without decay the state after step t is then
    target_t, whatever the weights, and a whole sequence is one step over all times at once:
    `cell.step(weights, jnp.concatenate([s0[None], targets[:-1]]), cell.drive(weights, xs))`.
    """

    additive: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False  # the readout is in the local part
    hidden_size: int
    output_size: int | None = None
    activation: str | Activation = "tanh"
    output_activation: str | Activation = "identity"
    decay: float = 0.0
    kernel_init: Initializer = Glorot()
    recurrent_init: Initializer = Orthogonal()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, output_size=self.outputs)
        activation(self.activation)
        activation(self.output_activation)
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is a share between 0 and 1, but is {self.decay}")

    @property
    def outputs(self) -> int:
        """The output size O."""
        return self.hidden_size if self.output_size is None else self.output_size

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        key_input, key_recurrent, key_readout = jax.random.split(key, 3)
        return {
            "kernel": self.kernel_init(key_input, (input_size, self.hidden_size)),
            "recurrent": self.recurrent_init(key_recurrent, (self.outputs, self.hidden_size)),
            "bias": jnp.zeros(self.hidden_size),
            "readout": self.kernel_init(key_readout, (self.hidden_size, self.outputs)),
            "readout_bias": jnp.zeros(self.outputs),
        }

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.zeros((*batch_shape, self.outputs), params["recurrent"].dtype)

    def drive(self, weights: Weights, x: Array) -> Array:
        return affine(x, weights["kernel"], weights["bias"])

    def recurrent_matrix(self, weights: Weights) -> Array:
        return weights["recurrent"]

    def pointwise(self, weights: Weights, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        h = activation(self.activation)(drive + r)
        y = activation(self.output_activation)(affine(h, weights["readout"], weights["readout_bias"]))
        return self.feed(state, y), y

    def feed(self, state: Array, output: Array) -> Array:
        """Returns the context s_t after s_{t−1} = `state` when `output` `[*batch, O]`, the cell's own or the
        target, is fed back."""
        return self.decay * state + output if self.decay else output

    def observe(self, weights: Weights, state: Array, drive: Array) -> dict[str, Array]:
        """Returns `hidden`, the hidden units h."""
        return {"hidden": activation(self.activation)(drive + self.product(weights, state))}
