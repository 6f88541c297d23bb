"""A layer that is fed one summary of a memory at every step."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Drive, Key, Output, Params, State, Weights
from models.layers.pooling import last_valid, mean_valid
from models.layers.wrapper import LayerWrapper
from models.memory import Memory, check_memory, memory_argument, memory_size, set_memory_size
from models.recurrence.unroll import unroll

Summary = Literal["last", "mean", "ends"]


class FedWeights(NamedTuple):
    """The weights of the layer inside, and the summary c `[*batch, C]` of the memory."""

    layer: Weights
    context: Array


@dataclass(frozen=True)
class FedContext(LayerWrapper):
    """A layer whose inputs and outputs are joined by one vector c, a summary of the memory m_1 … m_L:

        y_t = [f([x_t, c])_t, c]

    Cho et al. 2014, whose decoder reads at every step what the encoder ended with, and whose output layer reads
    it as well. `summary` is, over the valid places, "last": m_L; "mean": their mean; "ends": [m_1, m_L], for a
    memory written from both ends. c is zero where no place is valid.

    `memory_size` is M, the size of the memory's values, by default the layer's `hidden_size`. Parameters and
    state are those of f, whose inputs are of size D + M, with "ends" D + 2M. f may read the memory itself.
    """

    layer: Cell
    memory_size: int | None = None  # pyright: ignore[reportIncompatibleMethodOverride]
    summary: Summary = "last"

    def __post_init__(self) -> None:
        set_memory_size(self, self.layer)
        if self.summary not in get_args(Summary):
            raise ValueError(f"unknown summary {self.summary!r}: there are {', '.join(get_args(Summary))}")
        if memory_size(self.layer) not in (None, self.memory_size):
            raise ValueError(
                f"the layer inside reads a memory of size {memory_size(self.layer)}, but memory_size is "
                f"{self.memory_size}: give both one size"
            )

    @property
    def inner(self) -> Cell:
        return self.layer

    @property
    def reads_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True: the summary is one of the memory."""
        return True

    @property
    def context_size(self) -> int:
        """C, the size of the summary."""
        return (self.memory_size or 0) * (2 if self.summary == "ends" else 1)

    def init(self, key: Key, input_size: int) -> Params:
        return self.layer.init(key, input_size + self.context_size)

    def unroll(
        self,
        params: Params,
        xs: Array,
        state: State | None = None,
        *,
        mask: Array | None = None,
        memory: Memory | None = None,
        **options: Any,
    ) -> tuple[State, Output]:
        """Runs f over the whole sequence, with the summary beside each input; masked steps give zeros."""
        context = self.summarise(memory, xs.shape[1:-1]).astype(xs.dtype)
        given = memory_argument(self.layer, memory)
        final, ys = unroll(self.layer, params, beside(xs, context), state, mask=mask, **given, **options)
        ys = beside(ys, context)
        return final, ys if mask is None else jnp.where(mask[..., None], ys, 0)

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
    ) -> FedWeights:
        """Returns the weights of f and the summary. Raises ValueError if there is no memory, or it doesn't
        fit."""
        context = self.summarise(memory, batch_shape)
        own = super().prepare(params, key=key, train=train, batch_shape=batch_shape, memory=memory)
        return FedWeights(own, context)

    def drive(self, weights: FedWeights, x: Array) -> Drive:
        """Returns the drive of f for the input and the summary."""
        return self.layer.drive(weights.layer, beside(x, weights.context.astype(x.dtype)))

    def step(self, weights: FedWeights, state: State, drive: Drive) -> tuple[State, Output]:
        state, y = self.layer.step(weights.layer, state, drive)
        return state, beside(y, weights.context.astype(y.dtype))

    def observe(self, weights: FedWeights, state: State, drive: Drive) -> dict[str, Array]:
        return self.layer.observe(weights.layer, state, drive)

    def summarise(self, memory: Memory | None, batch_shape: BatchShape) -> Array:
        """Computes c."""
        check_memory(self, memory, batch_shape)
        assert memory is not None
        if self.summary == "mean":
            return mean_valid(*memory)
        last = last_valid(*memory)
        return (
            last if self.summary == "last" else jnp.concatenate([last_valid(*memory, reverse=True), last], -1)
        )


def beside(xs: Array, context: Array) -> Array:
    """Joins `xs [..., *batch, N]` and `context [*batch, C]`: `[..., *batch, N + C]`."""
    return jnp.concatenate([xs, jnp.broadcast_to(context, (*xs.shape[:-1], context.shape[-1]))], axis=-1)
