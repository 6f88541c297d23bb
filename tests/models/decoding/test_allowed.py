"""Automata of allowed tokens in a beam search, against enumeration of what they allow."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    Automaton,
    FiniteAutomaton,
)
from models.cell import Array
from tests.models.decoding.hypotheses import END, LENGTH, V, by_hand, check, compiled, net, starts

# Token 0 ends, 1 opens and 2 closes a bracket; at most two are open. The states are the numbers of open ones.
BRACKETS = FiniteAutomaton(jnp.array([[3, 1, -1], [-1, 2, 0], [-1, -1, 1], [-1, -1, -1]]))


class Letters(NamedTuple):
    """Of tokens 1 and 2 exactly so many an example, then the end."""

    left: Any

    def initial_state(self, batch_shape: tuple[int, ...]) -> Array:
        return self.left

    def allowed(self, state: Array) -> Array:
        return (jnp.arange(V) == 0) == (state == 0)

    def advance(self, state: Array, token: Array) -> Array:
        return state - 1


def balanced(tokens: tuple[int, ...]) -> bool:
    opened = np.cumsum([(0, 1, -1)[token] for token in tokens])
    ended = 0 not in tokens or (opened[-1] == 0 and tokens.index(0) == len(tokens) - 1)
    return bool((opened >= 0).all() and (opened <= 2).all() and ended)


@pytest.mark.parametrize("width", [2, V**LENGTH])
def test_brackets(width: int) -> None:
    """Nothing but what is allowed, with the model's own probabilities."""
    chosen, (state, first) = net(8), starts(9, 2)
    found = compiled(
        chosen.step,
        state,
        first,
        width=width,
        length=LENGTH,
        end=END,
        allowed=BRACKETS,
        n_best=width,
    )
    wanted = [
        by_hand(chosen, h, int(y), width, LENGTH, END, permits=balanced)
        for h, y in zip(state, first, strict=True)
    ]
    check(found, wanted, END)


def test_an_automaton_may_differ_from_example_to_example() -> None:
    chosen, (state, first) = net(8), starts(9, 3)
    left = Letters(jnp.array([3, 0, 1]))
    assert isinstance(left, Automaton)
    found = compiled(
        chosen.step,
        state,
        first,
        width=8,
        length=4,
        end=END,
        allowed=left,
        n_best=8,
    )
    np.testing.assert_array_equal((found.scores > -jnp.inf).sum(axis=1), [8, 1, 2])
    np.testing.assert_array_equal(found.lengths.max(axis=1), [4, 1, 2])


def test_table_of_fractions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the table of an automaton must be integers \[states, V\]"):
        FiniteAutomaton(jnp.ones((2, 2)))
