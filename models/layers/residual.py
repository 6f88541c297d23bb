"""A layer with a connection around it."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Output, Params, State, Weights
from models.layers.dropout import Dropout, check_no_dropout, check_rate, require_key
from models.layers.layer import split_or_none
from models.layers.wrapper import LayerWrapper
from models.memory import Memory
from models.recurrence.unroll import output_size, unroll


@dataclass(frozen=True)
class Residual(LayerWrapper):
    """y_t = x_t + f(x)_t, with f a layer whose outputs have the size of its inputs. He et al. 2016.

    In training, `dropout` drops units of f(x), different ones at every step, in `unroll` only. Parameters and state
    are those of f; the output has the size of the input. A block of a Transformer with its norms before its layers
    is `Stacked((Residual(Stacked((Norm(), attention))), Residual(Stacked((Norm(), feed_forward)))))`.

    Examples:
        >>> block = Stacked((Norm(), GRU(3)))
        >>> net = Residual(block)  # x + GRU(norm(x)): sizes must agree
        >>> unroll(net, net.init(jax.random.key(0), 3), jnp.ones((7, 3)))[1].shape
        (7, 3)
    """

    layer: Cell
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.dropout)

    @property
    def inner(self) -> Cell:
        return self.layer

    def init(self, key: Key, input_size: int) -> Params:
        params = self.layer.init(key, input_size)
        size = output_size(self.layer, params, input_size, "a layer with a residual connection")
        if size != input_size:
            raise ValueError(
                f"a residual connection needs equal input and output sizes, but {type(self.layer).__name__} has "
                f"input size {input_size} and output size {size}"
            )
        return params

    def unroll(
        self,
        params: Params,
        xs: Array,
        state: State | None = None,
        *,
        mask: Array | None = None,
        key: Key | None = None,
        train: bool = False,
        **options: Any,
    ) -> tuple[State, Output]:
        """Runs f over the whole sequence and adds its input; masked steps give zeros."""
        own, dropped = split_or_none(key, 2)
        final, ys = unroll(self.layer, params, xs, state, mask=mask, key=own, train=train, **options)
        if train and self.dropout:
            ys = Dropout(self.dropout)(ys, require_key(dropped))
        return final, ys + (xs if mask is None else jnp.where(mask[..., None], xs, 0))

    def last_output(self, params: Params, xs: Array, **options: Any) -> Output:
        """Returns the output at the last valid step."""
        return super(LayerWrapper, self).last_output(params, xs, **options)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> Weights:
        """Returns the weights of f. Raises ValueError in training with dropout."""
        check_no_dropout(self, self.dropout, train)
        return super().prepare(params, key=key, train=train, batch_shape=batch_shape, memory=memory)

    def drive(self, weights: Weights, x: Array) -> Array:
        """Returns the input, which is added to the output."""
        return x

    def step(self, weights: Weights, state: State, drive: Array) -> tuple[State, Output]:
        """Steps f and adds its input."""
        stepped, y = self.layer.step(weights, state, self.layer.drive(weights, drive))
        return stepped, drive + y

    def observe(self, weights: Weights, state: State, drive: Array) -> dict[str, Array]:
        return self.layer.observe(weights, state, self.layer.drive(weights, drive))
