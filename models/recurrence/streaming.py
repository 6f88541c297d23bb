"""Streaming: a cell one step at a time, as its inputs arrive."""

from dataclasses import dataclass
from functools import partial

import jax

from models.cell import (
    Array,
    BatchShape,
    Cell,
    Output,
    Params,
    State,
    Weights,
    check_at_least,
    check_hashable,
)
from models.checks import check_params, first_difference
from models.layers.layer import check_causal
from models.memory import Memory, check_memory, memory_argument


@dataclass(frozen=True, eq=False)
class Stream:
    """The stream that `stream` returns: the initial state, and `step`.

        state = online.initial_state
        for x in inputs:
            state, y = online.step(state, x)

    A stream holds no state of its own; the caller can keep any state to return to it.
    """

    cell: Cell
    weights: Weights
    initial_state: State
    batch_shape: BatchShape

    def step(self, state: State, x: Array) -> tuple[State, Output]:
        """Computes s_t, y_t from s_{t−1} and `x [*batch, D]`. Compiled once for all streams of equal cells and
        shapes.

        Raises ValueError if the input's batch isn't the stream's, or the state doesn't fit.
        """
        if x.ndim == 0 or x.shape[:-1] != self.batch_shape:
            raise ValueError(
                f"a step's input must be [*batch, D] with a batch of {list(self.batch_shape)}, but is "
                f"{list(x.shape)}"
            )
        if difference := first_difference(self.initial_state, state, dtypes=False):
            raise ValueError(
                f"the state given to a stream of {type(self.cell).__name__} doesn't fit: {difference}"
            )
        return advance(self.cell, self.weights, state, x)


def stream(
    cell: Cell, params: Params, batch_shape: BatchShape = (), *, memory: Memory | None = None
) -> Stream:
    """Prepares a cell for stepping one input at a time, with the same results as `unroll`. `memory` is for a
    cell that reads one.

    Raises ValueError for a layer that isn't causal, parameters or a memory that don't fit the cell, and a
    `batch_shape` that is not a tuple of whole numbers.

    Examples:
        >>> cell, xs = GRU(4), jnp.ones((7, 3))
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> online = stream(cell, params)
        >>> state = online.initial_state
        >>> for x in xs:
        ...     state, y = online.step(state, x)
        >>> bool(jnp.allclose(y, unroll(cell, params, xs)[1][-1], atol=1e-5))
        True
    """
    check_hashable(cell)
    check_causal(cell)
    check_params(cell, params)
    if not isinstance(batch_shape, tuple):
        raise ValueError(
            f"batch_shape must be a tuple, () for one example and (B,) for B, but is {batch_shape!r}"
        )
    check_at_least(0, **{f"axis {axis} of batch_shape": size for axis, size in enumerate(batch_shape)})
    check_memory(cell, memory, batch_shape)
    weights = cell.prepare(params, batch_shape=batch_shape, **memory_argument(cell, memory))
    return Stream(cell, weights, cell.initial_state(params, batch_shape), batch_shape)


@partial(jax.jit, static_argnums=0)
def advance(cell: Cell, weights: Weights, state: State, x: Array) -> tuple[State, Output]:
    """Computes one step from prepared weights."""
    return cell.step(weights, state, cell.drive(weights, x))
