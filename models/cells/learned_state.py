"""A learned initial state for any cell."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Drive, Key, LinearCell, Output, Params, State, Weights
from models.cells.wrapper import CellWrapper
from models.layers.self_attention import holds_cache
from models.state import starts_empty


@dataclass(frozen=True)
class LearnedState(CellWrapper):
    """A cell whose initial state s_0 is learned; everything else is the cell's own.

    Parameters: `cell`, the cell's own, and `state`, its initial state as real leaves: real ones as they are,
    complex ones as real and imaginary parts `[2, …]`, and None for integer ones (a step counter), which are not
    learned. It is initialised to the cell's own initial state, the same for every example.

    `init` raises ValueError for a cell whose first step forgets its initial state (xLSTM), or whose state is a
    cache."""

    def init(self, key: Key, input_size: int) -> Params:
        if holds_cache(self.cell):
            raise ValueError(
                f"the initial state of {type(self.cell).__name__} can't be learned, since it is an empty cache: "
                "use the cell without LearnedState"
            )
        params = self.cell.init(key, input_size)
        if starts_empty(self.cell, params):
            raise ValueError(
                f"the initial state of {type(self.cell).__name__} can't be learned, since its first step forgets "
                "it: use the cell without LearnedState"
            )
        return {"cell": params, "state": jax.tree.map(as_parameter, self.cell.initial_state(params))}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        own = self.cell.initial_state(params["cell"], batch_shape)

        def learned(leaf: Array, value: Array | None) -> Array:
            if value is None:
                return leaf
            if jnp.iscomplexobj(leaf):
                value = jax.lax.complex(value[0], value[1])
            return jnp.broadcast_to(value, leaf.shape).astype(leaf.dtype)

        return jax.tree.map(learned, own, params["state"])

    def prepare(self, params: Params, **options: Any) -> Weights:
        return super().prepare(params["cell"], **options)


@dataclass(frozen=True)
class LearnedLinearState(LearnedState, LinearCell):  # pyright: ignore[reportIncompatibleVariableOverride]
    """`LearnedState` of a cell that is linear in its state, which still runs in parallel over time."""

    def __post_init__(self) -> None:
        if not isinstance(self.cell, LinearCell):
            raise ValueError(f"{self.cell} is not linear in its state: use LearnedState")

    @property
    def linear_cell(self) -> LinearCell:
        """The cell, as a `LinearCell`."""
        assert isinstance(self.cell, LinearCell)
        return self.cell

    def coefficients(self, weights: Weights, drive: Drive) -> tuple[State, State]:
        return self.linear_cell.coefficients(weights, drive)

    def readout(self, weights: Weights, state: State, drive: Drive) -> Output:
        return self.linear_cell.readout(weights, state, drive)


def as_parameter(leaf: Array) -> Any:
    """Returns a leaf of a state as a real parameter; None if it can't be learned."""
    if jnp.iscomplexobj(leaf):
        return jnp.stack([leaf.real, leaf.imag])
    return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else None
