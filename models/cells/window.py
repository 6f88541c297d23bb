"""The fixed window: a feedforward net over the last few inputs, written as a cell."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Params, Weights, add_bias, affine, check_at_least
from models.initializers import Glorot, Initializer


class WindowState(NamedTuple):
    """The contributions of earlier inputs to the next steps, nearest first `[*batch, n−2, H]`, and, for direct
    connections, those inputs themselves `[*batch, n−2, D]` (else None)."""

    pending: Array
    inputs: Array | None


class WindowDrive(NamedTuple):
    """The contributions of an input to this step and the n−2 next, `[*batch, n−1, H]`, and the input `[*batch,
    D]`."""

    projections: Array
    x: Array


@dataclass(frozen=True)
class FixedWindow(Cell):
    """The hidden layer of a neural n-gram model, which sees the last n − 1 inputs only:

        y_t = tanh(b + Σ_{i=0}^{n−2} x_{t−i} W_i)        and with `direct`  [y_t, x_t, x_{t−1}, …, x_{t−n+2}]

    with n = `order`, and zeros for inputs before the first. With a linear readout over embedded words this is the
    model of Bengio, Ducharme, Vincent & Jauvin 2003; `direct` adds their connections from the words' features to
    the output. All products are in the drive; the steps only add. The Jacobian of n − 1 steps is zero.

    Parameters: `kernel [D, (n−1)·H]`, W_0 … W_{n−2} side by side; `bias [H]`. State: `WindowState`.
    """

    hidden_size: int
    order: int = 5
    direct: bool = False
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size)
        check_at_least(3, order=self.order)

    @property
    def window(self) -> int:
        """The number of inputs that a step sees, n − 1."""
        return self.order - 1

    def init(self, key: Key, input_size: int) -> Params:
        check_at_least(0, input_size=input_size)
        # Initialised as one layer with (n−1)·D inputs.
        flat_kernel = self.kernel_init(key, (self.window * input_size, self.hidden_size))
        blocks = flat_kernel.reshape(self.window, input_size, self.hidden_size)
        kernel = jnp.moveaxis(blocks, 0, 1).reshape(input_size, self.window * self.hidden_size)
        return {"kernel": kernel, "bias": jnp.zeros(self.hidden_size)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> WindowState:
        kernel, earlier = params["kernel"], self.window - 1
        pending = jnp.zeros((*batch_shape, earlier, self.hidden_size), kernel.dtype)
        inputs = jnp.zeros((*batch_shape, earlier, kernel.shape[0]), kernel.dtype) if self.direct else None
        return WindowState(pending, inputs)

    def drive(self, weights: Weights, x: Array) -> WindowDrive:
        projections = affine(x, weights["kernel"])
        return WindowDrive(projections.reshape(*x.shape[:-1], self.window, self.hidden_size), x)

    def step(self, weights: Weights, state: WindowState, drive: WindowDrive) -> tuple[WindowState, Array]:
        # Row i: the sum so far of the step i steps from now.
        nothing = jnp.zeros_like(drive.projections[..., :1, :])
        sums = drive.projections + jnp.concatenate([state.pending, nothing], axis=-2)
        y = jnp.tanh(add_bias(sums[..., 0, :], weights["bias"]))
        if state.inputs is None:
            return WindowState(sums[..., 1:, :], None), y
        window = jnp.concatenate([drive.x[..., None, :], state.inputs], axis=-2)
        flat = window.reshape(*window.shape[:-2], window.shape[-2] * window.shape[-1])
        return WindowState(sums[..., 1:, :], window[..., :-1, :]), jnp.concatenate([y, flat], axis=-1)
