"""Automata that say which tokens a hypothesis of a search may go on with."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Bool, Int

from models.cell import Array, BatchShape


@runtime_checkable
class Automaton(Protocol):
    """Says which tokens may come next in a sequence, by a state of its own.

    The state is a pytree. `allowed` and `advance` are written for one sequence; the search maps them over examples
    and hypotheses. What differs from example to example, such as the words that are left, belongs into the initial
    state.
    """

    def initial_state(self, batch_shape: BatchShape) -> Any:
        """Returns the state before the first token, leaves `[*batch, ...]`."""
        ...

    def allowed(self, state: Any) -> Bool[Array, " V"]:
        """Tells which tokens may come next."""
        ...

    def advance(self, state: Any, token: Int[Array, ""]) -> Any:
        """Returns the state after an allowed token."""
        ...


@dataclass(frozen=True, eq=False)
class FiniteAutomaton:
    """An `Automaton` given as a table: from state s, token v leads to state `table[s, v]`, or is refused where that
    is negative. It begins in state 0.

        odd = FiniteAutomaton(jnp.array([[-1, 1, -1], [0, -1, -1]]))  # tokens 1, 0, 1, 0, …

    Raises ValueError if the table is not of integers `[states, V]`.
    """

    table: Array

    def __post_init__(self) -> None:
        if jnp.ndim(self.table) != 2 or not jnp.issubdtype(jnp.result_type(self.table), jnp.integer):
            raise ValueError(
                f"the table of an automaton must be integers [states, V], but is {jnp.result_type(self.table)} "
                f"{list(jnp.shape(self.table))}"
            )

    def initial_state(self, batch_shape: BatchShape) -> Array:
        return jnp.zeros(batch_shape, jnp.int32)

    def allowed(self, state: Array) -> Array:
        return self.table[state] >= 0

    def advance(self, state: Array, token: Array) -> Array:
        return self.table[state, token].astype(jnp.int32)
