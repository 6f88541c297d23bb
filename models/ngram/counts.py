"""Counts of the n-grams of a text, as sorted arrays.

An n-gram is a context, an (n−1)-gram, followed by a token w. With ids in the order of (context's id, w), the
n-grams of one order are one sorted array of `context · V + w`: lookup is a binary search, the continuations of a
context are adjacent, and the keys fit into 64 bits for any n. All operations are vectorised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

Ids = Int[np.ndarray, "T"]
ABSENT = -1


@dataclass(frozen=True, eq=False)
class Level:
    """The M n-grams of one order, with M' in the order below."""

    keys: Int[np.ndarray, "M"]  # ascending: context's id · V + last token
    counts: Int[np.ndarray, "M"]  # occurrences in the text
    suffix: Int[np.ndarray, "M"]  # id, in the order below, of the n-gram without its first token
    first: Int[np.ndarray, "_"]  # [M' + 1]: the continuations of context c are first[c] … first[c + 1] − 1

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def contexts(self) -> Int[np.ndarray, "M"]:
        """The id of each n-gram's context."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sums values [M] over the continuations of each context, [M'], in float64."""
        return np.bincount(self.contexts, weights=values, minlength=len(self.first) - 1)


@dataclass(frozen=True, eq=False)
class NgramCounts:
    """Orders 1 … n of a text over V types.

    With a `boundary`, the type that ends lines, no n-gram spans two lines: the boundary is the last token of the
    n-grams before it and the first of those after it, the `<s>` of the literature, never in the middle.
    """

    levels: tuple[Level, ...]
    size: int  # V
    boundary: int | None = None

    @property
    def order(self) -> int:
        """The n of the longest n-grams."""
        return len(self.levels)

    @classmethod
    def of(cls, tokens: Ids, size: int, order: int, boundary: int | None = None) -> "NgramCounts":
        """Counts a text of `tokens` in 0 … V − 1, `size` = V; its first token follows a boundary, if there is one.

        Stops at the highest order in the text: 3 with one token between boundaries, whatever `order` is.

        Raises ValueError for an order below 1, a text without tokens, or a token outside 0 … V − 1.
        """
        if order < 1:
            raise ValueError(f"order is {order}: an n-gram has 1 token or more")
        if not len(tokens):
            raise ValueError("a text without tokens can't be counted: give at least one")
        if tokens.min() < 0 or tokens.max() >= size:
            raise ValueError(
                f"tokens lie in {tokens.min()} … {tokens.max()}, but there are types 0 … {size - 1} only"
            )
        text = _after_boundary(tokens, boundary)
        lengths = _context_lengths(text, boundary)
        # In order 1 every type has an entry, whose id is the type.
        ends = text.copy()  # the id of the n-gram that ends at each position
        none = np.zeros(size, np.int64)
        unigrams = np.bincount(text[_lead(boundary) :], minlength=size)
        levels = [Level(np.arange(size), unigrams, none, np.array([0, size]))]
        for n in range(2, order + 1):
            places = np.flatnonzero(lengths >= n - 1)
            if not len(places):
                break
            found, first_places, inverse, counts = np.unique(
                ends[places - 1] * size + text[places],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            first = np.searchsorted(found, np.arange(len(levels[-1]) + 1) * size)
            levels.append(Level(found, counts, ends[places[first_places]], first))
            ends = np.full(len(text), ABSENT)
            ends[places] = inverse
        return cls(tuple(levels), size, boundary)

    def truncated(self, order: int) -> "NgramCounts":
        """Returns the counts of the orders 1 … `order` alone."""
        return replace(self, levels=self.levels[:order])

    def ngram_ids(self, tokens: Ids) -> tuple[Int[np.ndarray, "n T"], Int[np.ndarray, "n T"]]:
        """Returns, for each order and token of a text, the id of the n-gram that ends there, and of its context.

        ABSENT if the training text doesn't contain it, or a boundary or the start of the text cuts it short. The
        context of a unigram has id 0.
        """
        lead = _lead(self.boundary)
        text = _after_boundary(tokens, self.boundary)
        lengths = _context_lengths(text, self.boundary)
        found = np.full((self.order, len(text)), ABSENT)
        contexts = np.full((self.order, len(text)), ABSENT)
        found[0], contexts[0] = text, 0
        for n, level in enumerate(self.levels[1:], 2):
            before = np.append(ABSENT, found[n - 2, :-1])
            contexts[n - 1] = np.where(lengths >= n - 1, before, ABSENT)
            found[n - 1] = look_up(level.keys, contexts[n - 1], text, self.size)
        return found[:, lead:], contexts[:, lead:]

    def context_lengths(self, tokens: Ids) -> Int[np.ndarray, "T"]:
        """Returns the length of each token's context, at most n − 1."""
        text = _after_boundary(tokens, self.boundary)
        return np.minimum(_context_lengths(text, self.boundary), self.order - 1)[_lead(self.boundary) :]

    def contexts_of(self, prompt: Sequence[int]) -> list[int]:
        """Returns the ids of the contexts of the token after a prompt, one per order, shortest first.

        ABSENT if the text doesn't contain it. There are at most n, none beyond the boundary or the prompt's start.
        """
        # Only the last tokens matter, so that the cost doesn't grow with the prompt.
        context = [int(token) for token in prompt[max(0, len(prompt) - self.order) :]]
        if self.boundary is not None:
            context = [self.boundary, *context] if len(prompt) < self.order else context
            context = context[
                max((i for i, token in enumerate(context) if token == self.boundary), default=0) :
            ]
        numbers = [0]
        for length in range(1, min(self.order, len(context) + 1)):
            number = context[-length]
            for level, token in zip(self.levels[1:], context[len(context) - length + 1 :], strict=False):
                key = number * self.size + token
                place = int(np.searchsorted(level.keys, key))
                number = place if place < len(level) and level.keys[place] == key else ABSENT
                if number == ABSENT:
                    break
            numbers.append(number)
        return numbers

    def continuations(self, order: int, context: int) -> tuple[Int[np.ndarray, "K"], slice]:
        """Returns the tokens that follow a context of `order − 1` tokens in the text, ascending, and the n-grams'
        ids."""
        level = self.levels[order - 1]
        places = slice(int(level.first[context]), int(level.first[context + 1]))
        return level.keys[places] % self.size, places

    def sizes(self) -> Int[np.ndarray, "n"]:
        """Counts the different n-grams of each order in the text."""
        return np.array([np.count_nonzero(level.counts) for level in self.levels])

    def unseen(self, tokens: Ids) -> Float[np.ndarray, "n"]:
        """Computes the fraction of another text's n-grams of each order that this one doesn't contain; NaN if it
        has none."""
        found, _ = self.ngram_ids(tokens)
        seen = found != ABSENT
        seen[0] = self.levels[0].counts[found[0]] > 0
        lengths = self.context_lengths(tokens)
        shares = [
            1 - np.mean(seen[n][lengths >= n]) if np.any(lengths >= n) else np.nan for n in range(self.order)
        ]
        return np.array(shares)


def look_up(
    keys: Int[np.ndarray, "M"], contexts: Int[np.ndarray, "T"], tokens: Ids, size: int
) -> Int[np.ndarray, "T"]:
    """Returns the id of each n-gram, ABSENT if its context is, or if it is not among the keys."""
    wanted = contexts * size + tokens
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    there = (contexts != ABSENT) & (keys[places] == wanted) if len(keys) else np.zeros(len(wanted), bool)
    return np.where(there, places, ABSENT)


def _lead(boundary: int | None) -> int:
    return 0 if boundary is None else 1


def _after_boundary(tokens: Ids, boundary: int | None) -> Int[np.ndarray, "_"]:
    text = np.asarray(tokens, np.int64)
    return text if boundary is None else np.append(boundary, text)


def _context_lengths(text: Ids, boundary: int | None) -> Int[np.ndarray, "T"]:
    """Returns how many tokens precede each one since the last boundary, or since the start."""
    places = np.arange(len(text))
    if boundary is None:
        return places
    starts = np.maximum.accumulate(np.where(text == boundary, places, 0))
    return places - np.append(0, starts[:-1])
