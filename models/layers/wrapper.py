"""A layer around another layer or cell."""

from dataclasses import dataclass
from typing import Any

from models.cell import Array, BatchShape, Cell, Drive, Key, Output, Params, State, Weights
from models.layers.layer import Layer, is_causal
from models.memory import Memory, memory_argument, memory_size
from models.recurrence.unroll import last_output, unroll


@dataclass(frozen=True)
class LayerWrapper(Layer):
    """Forwards every method to `inner`; a subclass says what that is, and overrides what it changes.

    Parameters, weights and state are those of the inner layer.
    """

    @property
    def inner(self) -> Cell:
        """The layer or cell inside."""
        raise NotImplementedError(f"{type(self).__name__} has no inner layer")

    @property
    def causal(self) -> bool:
        """True if the inner layer is causal."""
        return is_causal(self.inner)

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the inner layer couples a batch."""
        return self.inner.couples_batch

    @property
    def reads_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the inner layer reads a memory."""
        return self.inner.reads_memory

    @property
    def memory_size(self) -> int | None:
        """The size of the memory that the inner layer reads."""
        return memory_size(self.inner)

    def init(self, key: Key, input_size: int) -> Params:
        return self.inner.init(key, input_size)

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return self.inner.initial_state(params, batch_shape)

    def unroll(
        self, params: Params, xs: Array, state: State | None = None, **options: Any
    ) -> tuple[State, Output]:
        return unroll(self.inner, params, xs, state, **options)

    def last_output(self, params: Params, xs: Array, **options: Any) -> Output:
        return last_output(self.inner, params, xs, **options)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> Weights:
        given = memory_argument(self.inner, memory)
        return self.inner.prepare(params, key=key, train=train, batch_shape=batch_shape, **given)

    def drive(self, weights: Weights, x: Array) -> Drive:
        return self.inner.drive(weights, x)

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        return self.inner.step(weights, state, drive)

    def coordinates(self, state: State) -> State:
        return self.inner.coordinates(state)

    def from_coordinates(self, coordinates: State, like: State) -> State:
        return self.inner.from_coordinates(coordinates, like)

    def has_coordinates(self, state: State) -> Array:
        return self.inner.has_coordinates(state)

    def observe(self, weights: Weights, state: State, drive: Drive) -> dict[str, Array]:
        return self.inner.observe(weights, state, drive)
