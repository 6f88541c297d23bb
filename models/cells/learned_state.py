"""Any cell with an initial state that is learned."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import (
    Array,
    BatchShape,
    Cell,
    Drive,
    Key,
    LinearCell,
    Output,
    Params,
    ProductCell,
    State,
    Weights,
)
from models.state import begins_empty


@dataclass(frozen=True)
class LearnedState(ProductCell):
    """The cell given, begun from a learned state s_0 in place of its own; everything else is that cell's.

    Parameters: `cell`, the cell's own, and `state`: of its initial state the real leaves as they are, complex ones
    as `[2, …]`, real and imaginary parts, and None for integer ones (a step counter), which are not learned. It
    begins at the cell's own initial state, the same for every example; its learning is an Elman net's h0, for one.
    In the product form where the cell is. `init` raises ValueError for a cell whose first step forgets
    its start (xLSTM).
    """

    cell: Cell

    @property
    def additive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the cell's."""
        return isinstance(self.cell, ProductCell) and self.cell.additive

    @property
    def elementwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the cell's."""
        return isinstance(self.cell, ProductCell) and self.cell.elementwise

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the cell's."""
        return self.cell.couples_batch

    @property
    def product_cell(self) -> ProductCell:
        """The cell, where it is of the product form. Raises TypeError where it isn't."""
        if not isinstance(self.cell, ProductCell):
            raise TypeError(f"{self.cell} is not of the product form")
        return self.cell

    def has_product_form(self) -> bool:
        """True where the cell has it."""
        return isinstance(self.cell, ProductCell) and self.cell.has_product_form()

    def init(self, key: Key, input_size: int) -> Params:
        params = self.cell.init(key, input_size)
        if begins_empty(self.cell, params):
            raise ValueError(
                f"the initial state of {type(self.cell).__name__} can't be learned: its first step forgets what "
                "was before it; use the cell without LearnedState"
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

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        return self.cell.prepare(params["cell"], key=key, train=train, batch_shape=batch_shape)

    def drive(self, weights: Weights, x: Array) -> Drive:
        return self.cell.drive(weights, x)

    def masked(self, drive: Drive, mask: Array) -> Drive:
        return self.cell.masked(drive, mask)

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        return self.cell.step(weights, state, drive)

    def coordinates(self, state: State) -> State:
        return self.cell.coordinates(state)

    def from_coordinates(self, coordinates: State, like: State) -> State:
        return self.cell.from_coordinates(coordinates, like)

    def begun(self, state: State) -> Array:
        return self.cell.begun(state)

    def observe(self, weights: Weights, state: State, drive: Drive) -> dict[str, Array]:
        return self.cell.observe(weights, state, drive)

    def added_columns(self, columns: int) -> int:
        return self.product_cell.added_columns(columns)

    def recurrent_matrix(self, weights: Weights) -> Array:
        return self.product_cell.recurrent_matrix(weights)

    def recurrent_input(self, weights: Weights, state: State) -> Array:
        return self.product_cell.recurrent_input(weights, state)

    def pointwise(self, weights: Weights, state: State, drive: Drive, r: Array) -> tuple[State, Output]:
        return self.product_cell.pointwise(weights, state, drive, r)


@dataclass(frozen=True)
class LearnedLinearState(LearnedState, LinearCell):  # pyright: ignore[reportIncompatibleVariableOverride]
    """`LearnedState` of a cell that is linear in its state, which can so be run in parallel over time still."""

    def __post_init__(self) -> None:
        if not isinstance(self.cell, LinearCell):
            raise ValueError(f"{self.cell} is not linear in its state: use LearnedState")

    @property
    def linear_cell(self) -> LinearCell:
        """The cell."""
        assert isinstance(self.cell, LinearCell)
        return self.cell

    def coefficients(self, weights: Weights, drive: Drive) -> tuple[State, State]:
        return self.linear_cell.coefficients(weights, drive)

    def readout(self, weights: Weights, state: State, drive: Drive) -> Output:
        return self.linear_cell.readout(weights, state, drive)


def as_parameter(leaf: Array) -> Any:
    """A leaf of a state as what the optimizer may change: real, or None where it can't be learned."""
    if jnp.iscomplexobj(leaf):
        return jnp.stack([leaf.real, leaf.imag])
    return leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else None
