"""A cell one step at a time, as its inputs come in."""

from dataclasses import dataclass
from functools import partial

import jax

from models.cell import Array, BatchShape, Cell, Output, Params, State, Weights
from models.layer import check_causal


@dataclass(frozen=True, eq=False)
class Stream:
    """The stream that `stream` makes: the state to begin with, and `step`.

        state = online.initial_state
        for x in inputs:
            state, y = online.step(state, x)

    The states are the caller's to keep: a state kept is a place to go back to.
    """

    cell: Cell
    weights: Weights
    initial_state: State
    batch_shape: BatchShape

    def step(self, state: State, x: Array) -> tuple[State, Output]:
        """s_t, y_t from s_{t−1} and `x [*batch, D]`. Compiled once for all streams of equal cells and shapes.

        Raises ValueError where the input's batch isn't the stream's.
        """
        if x.ndim == 0 or x.shape[:-1] != self.batch_shape:
            raise ValueError(
                f"a step's input must be [*batch, D] with a batch of {list(self.batch_shape)}, but is "
                f"{list(x.shape)}"
            )
        return advance(self.cell, self.weights, state, x)


def stream(cell: Cell, params: Params, batch_shape: BatchShape = ()) -> Stream:
    """The cell one step at a time with the numbers of `unroll`, what a sequence needs once being prepared once.

    Raises ValueError for a layer that reads the future.
    """
    check_causal(cell)
    weights = cell.prepare(params, batch_shape=batch_shape)
    return Stream(cell, weights, cell.initial_state(params, batch_shape), batch_shape)


@partial(jax.jit, static_argnums=0)
def advance(cell: Cell, weights: Weights, state: State, x: Array) -> tuple[State, Output]:
    """One step from prepared weights."""
    return cell.step(weights, state, cell.drive(weights, x))
