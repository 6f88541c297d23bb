"""An automaton of trees: the sequences of brackets and tags that are trees over a given sentence."""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Bool, Int

from models.cell import Array, BatchShape

END, CLOSE, OPEN, TAG = range(4)  # kinds of tokens


class Unfinished(NamedTuple):
    """A sequence that is to become a tree: the tags of its sentence, how many they are, how many stand already,
    open brackets, True if the last token opened one, and how many tokens may follow."""

    tags: Array
    words: Array
    place: Array
    depth: Array
    opened: Array
    left: Array


@dataclass(frozen=True, eq=False)
class TreeAutomaton:
    """An `Automaton` whose sequences are trees over exactly the words of a sentence: "(S (NP PRON ) …" holds the
    tags of the words in their order, no bracket is empty, each is closed, and the end mark follows. Trees may stand
    side by side. A bracket opens only if the sequence can still be finished within its limit, so every search ends
    in a tree.

    Attributes:
        kinds: of each token of the vocabulary END, CLOSE, OPEN or TAG `[V]`.
        tags: the tokens of the sentences' tags `[L, *batch]`; what follows the last is ignored.
        counts: their numbers `[*batch]`.
        limits: the most tokens of a sequence, the end mark included; a sentence needs one more than it has words.
    """

    kinds: Int[Array, " V"]
    tags: Int[Array, "L *batch"]
    counts: Int[Array, "*batch"]
    limits: Int[Array, "*batch"]

    def initial_state(self, batch_shape: BatchShape) -> Unfinished:
        zeros = jnp.zeros(batch_shape, jnp.int32)
        return Unfinished(
            jnp.moveaxis(self.tags, 0, -1),
            self.counts.astype(jnp.int32),
            zeros,
            zeros,
            jnp.zeros(batch_shape, bool),
            self.limits.astype(jnp.int32),
        )

    def allowed(self, state: Unfinished) -> Bool[Array, " V"]:
        words, tokens = state.words - state.place, jnp.arange(len(self.kinds))
        due = state.tags[jnp.minimum(state.place, len(state.tags) - 1)]
        needed = words + state.depth + 1
        return jnp.select(
            [self.kinds == END, self.kinds == CLOSE, self.kinds == OPEN],
            [
                (words == 0) & (state.depth == 0),
                (state.depth > 0) & ~state.opened,
                (words > 0) & (state.left >= needed + 2),
            ],
            (words > 0) & (tokens == due),
        )

    def advance(self, state: Unfinished, token: Int[Array, ""]) -> Unfinished:
        kind = self.kinds[token]
        return state._replace(
            place=state.place + (kind == TAG),
            depth=state.depth + (kind == OPEN) - (kind == CLOSE),
            opened=kind == OPEN,
            left=state.left - 1,
        )
