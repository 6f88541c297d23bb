"""A cell around another cell."""

from dataclasses import dataclass

from models.cell import (
    Array,
    BatchShape,
    Cell,
    Drive,
    Key,
    Output,
    Params,
    ProductCell,
    State,
    Weights,
)
from models.memory import Memory, memory_argument, memory_size


@dataclass(frozen=True)
class CellWrapper(ProductCell):
    """Forwards every method to `cell`; a subclass overrides what it changes.

    The parameters, weights and state are the cell's own. A subclass whose weights hold more than the cell's says by
    `cell_weights` where the cell's are. It has the product form, and reads a memory, if and only if the cell does.
    """

    cell: Cell

    @property
    def additive(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the cell is additive."""
        return isinstance(self.cell, ProductCell) and self.cell.additive

    @property
    def elementwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the cell is elementwise."""
        return isinstance(self.cell, ProductCell) and self.cell.elementwise

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the cell couples the examples of a batch."""
        return self.cell.couples_batch

    @property
    def reads_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if the cell reads a memory."""
        return self.cell.reads_memory

    @property
    def memory_size(self) -> int | None:
        """The size of the memory that the cell reads."""
        return memory_size(self.cell)

    @property
    def product_cell(self) -> ProductCell:
        """The cell, if it is a `ProductCell`. Raises TypeError otherwise."""
        if not isinstance(self.cell, ProductCell):
            raise TypeError(f"{self.cell} is not of the product form")
        return self.cell

    def cell_weights(self, weights: Weights) -> Weights:
        """Returns the cell's own weights; by default all of them."""
        return weights

    def has_product_form(self) -> bool:
        return isinstance(self.cell, ProductCell) and self.cell.has_product_form()

    def init(self, key: Key, input_size: int) -> Params:
        return self.cell.init(key, input_size)

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return self.cell.initial_state(params, batch_shape)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> Weights:
        given = memory_argument(self.cell, memory)
        return self.cell.prepare(params, key=key, train=train, batch_shape=batch_shape, **given)

    def drive(self, weights: Weights, x: Array) -> Drive:
        return self.cell.drive(self.cell_weights(weights), x)

    def masked(self, drive: Drive, mask: Array) -> Drive:
        return self.cell.masked(drive, mask)

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        if self.has_product_form():
            return super().step(weights, state, drive)
        return self.cell.step(self.cell_weights(weights), state, drive)

    def coordinates(self, state: State) -> State:
        return self.cell.coordinates(state)

    def from_coordinates(self, coordinates: State, like: State) -> State:
        return self.cell.from_coordinates(coordinates, like)

    def has_coordinates(self, state: State) -> Array:
        return self.cell.has_coordinates(state)

    def observe(self, weights: Weights, state: State, drive: Drive) -> dict[str, Array]:
        return self.cell.observe(self.cell_weights(weights), state, drive)

    def added_columns(self, columns: int) -> int:
        return self.product_cell.added_columns(columns)

    def recurrent_matrix(self, weights: Weights) -> Array:
        return self.product_cell.recurrent_matrix(self.cell_weights(weights))

    def recurrent_input(self, weights: Weights, state: State) -> Array:
        return self.product_cell.recurrent_input(self.cell_weights(weights), state)

    def pointwise(self, weights: Weights, state: State, drive: Drive, r: Array) -> tuple[State, Output]:
        return self.product_cell.pointwise(self.cell_weights(weights), state, drive, r)
