"""The influence of the past, split by the part of the state through which it comes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from analysis.influence import influence_matrices, matrix_norms
from models.cell import Array, BatchShape, Cell, Drive, Key, Output, Params, State, Weights
from models.cells.wrapper import CellWrapper
from models.memory import Memory, check_memory


@dataclass(frozen=True)
class OpenParts(CellWrapper):
    """A cell with equal outputs whose gradient passes from step to step through some parts of its state only.

    `parts` names the fields of the state, a named tuple. Parameters: `cell`, and `open [P]`, True for the parts
    whose gradient passes. That of the others is stopped before each step; within a step everything is
    differentiated. So one program serves every choice of parts.
    """

    parts: tuple[str, ...] = ()

    def has_product_form(self) -> bool:
        return False

    def init(self, key: Key, input_size: int) -> Params:
        return {"cell": self.cell.init(key, input_size), "open": jnp.ones(len(self.parts), bool)}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return self.cell.initial_state(params["cell"], batch_shape)

    def cell_weights(self, weights: Weights) -> Weights:
        return weights["cell"]

    def prepare(self, params: Params, **options: Any) -> Weights:
        return {"cell": super().prepare(params["cell"], **options), "open": params["open"]}

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        """Stops the gradient of the parts that aren't open, then steps the cell."""

        def held(open: Array, part: State) -> State:
            return jax.tree.map(lambda leaf: jnp.where(open, leaf, jax.lax.stop_gradient(leaf)), part)

        kept = {name: held(weights["open"][i], getattr(state, name)) for i, name in enumerate(self.parts)}
        return self.cell.step(weights["cell"], state._replace(**kept), drive)


def influence_by_path(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    t: int | Array,
    state: Any = None,
    *,
    parts: Sequence[str] = (),
    mask: Bool[Array, " T"] | None = None,
    memory: Memory | None = None,
) -> dict[str, Float[Array, " T"]]:
    """Splits `influence` by the parts of the state that carry it: norms `[T]` under total, each part, and mixed.

    From x_s to y_t lie t − s transitions from one step to the next, and each path of the chain rule goes through
    one part of the state at each of them, so that

        ∂y_t/∂x_s = Σ over parts (paths through that part alone) + (paths through several, "mixed")

    exactly, as matrices. At s = t there is no transition: every part has the whole, and nothing is mixed.
    The norms of the terms don't add up, since terms may cancel. "mixed" is the difference, so where it is small
    beside the others it is exact only up to their rounding errors.

    Args:
        cell: a cell whose state is a named tuple.
        params: its parameters.
        xs: one sequence.
        t: the step of the output.
        state: the state before the first step.
        parts: the fields of the state in the order of the result; by default in that of the state.
        mask: False at padding. A masked step is no transition.
        memory: for a cell that reads one, held fixed.

    Raises:
        ValueError: the state isn't a named tuple of at least two fields, or `parts` aren't its fields; and as
            `influence_matrices`.
    """
    check_memory(cell, memory, ())
    fields = state_fields(cell, params)
    parts = tuple(parts) or fields
    if sorted(parts) != sorted(fields):
        raise ValueError(
            f"parts must be the fields of the state, {', '.join(fields)}, but are {', '.join(parts)}"
        )

    def matrices(open: Array) -> Array:
        given = {"cell": params, "open": open}
        return influence_matrices(OpenParts(cell, parts), given, xs, t, state, mask=mask, memory=memory)

    all_and_each = jnp.concatenate([jnp.ones((1, len(parts)), bool), jnp.eye(len(parts), dtype=bool)])
    total, *each = jax.lax.map(matrices, all_and_each)
    alone = dict(zip(parts, each, strict=True))
    steps = jnp.cumsum(jnp.ones(len(xs), bool) if mask is None else mask)
    several = (steps[t] - steps >= 2).reshape(-1, 1, 1)  # transitions, so that a path can change parts
    mixed = jnp.where(several, total - sum(alone.values(), jnp.zeros_like(total)), 0)
    return {name: matrix_norms(found) for name, found in {"total": total, **alone, "mixed": mixed}.items()}


def state_fields(cell: Cell, params: Params) -> tuple[str, ...]:
    """Returns the names of the fields of a cell's state. Raises ValueError unless it has at least two."""
    state = jax.eval_shape(lambda params: cell.initial_state(params), params)
    fields = tuple(getattr(state, "_fields", ()))
    if len(fields) < 2:
        raise ValueError(
            f"the state of {type(cell).__name__} must be a named tuple of at least two parts to be split, but is "
            f"{jax.tree.structure(state)}"
        )
    return fields
