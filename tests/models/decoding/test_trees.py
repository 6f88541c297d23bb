"""The automaton of trees, against a counter of brackets on all short sequences."""

import itertools
from typing import Any

import jax.numpy as jnp

from models import Automaton, TreeAutomaton
from models.decoding.trees import CLOSE, END, OPEN, TAG

KINDS = (END, CLOSE, OPEN, TAG, TAG)


def is_tree(tokens: tuple[int, ...], tags: tuple[int, ...], limit: int) -> bool:
    """Tells whether tokens are a tree over the tags and an end mark, by the rules as they are written."""
    if len(tokens) > limit or tokens[-1:] != (0,) or 0 in tokens[:-1]:
        return False
    depth, before = 0, 0
    for token in tokens[:-1]:
        if token == 1 and (depth == 0 or before == 2):
            return False
        depth += (token == 2) - (token == 1)
        before = token
    return depth == 0 and tuple(token for token in tokens if token > 2) == tags


def accepts(automaton: TreeAutomaton, tokens: tuple[int, ...]) -> bool:
    """Runs the automaton; each of its refusals ends that."""
    state: Any = automaton.initial_state(())
    for token in tokens:
        if not automaton.allowed(state)[token]:
            return False
        state = automaton.advance(state, jnp.int32(token))
    return tokens[-1] == 0


def test_accepts_trees_alone() -> None:
    """Every sequence of up to seven tokens; none comes to a dead end: before the end some token is allowed."""
    tags, limit = (3, 4), 7
    automaton = TreeAutomaton(jnp.array(KINDS), jnp.array([*tags, 0]), jnp.int32(2), jnp.int32(limit))
    assert isinstance(automaton, Automaton)
    reached = {(): automaton.initial_state(())}
    accepted = set()
    for _ in range(limit):
        following = {}
        for tokens, state in reached.items():
            allowed = [token for token, may in enumerate(automaton.allowed(state).tolist()) if may]
            assert allowed
            for token in allowed:
                grown = (*tokens, token)
                if token == 0:
                    accepted.add(grown)
                else:
                    following[grown] = automaton.advance(state, jnp.int32(token))
        reached = following
    assert not reached  # all have ended within the limit
    every = (t for length in range(1, limit + 1) for t in itertools.product(range(5), repeat=length))
    assert accepted == {tokens for tokens in every if is_tree(tokens, tags, limit)}
    assert len([tokens for tokens in accepted if len(tokens) == 5]) == 3  # one bracket
    assert len(accepted) == 10  # six of two brackets, and none
    assert accepts(automaton, (2, 3, 4, 1, 0))
    assert not accepts(automaton, (2, 3, 1, 0))
