"""A probabilistic context-free grammar, counted, and the likeliest parse under it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

Symbol = tuple[str, int, int]  # over words start to end − 1


@dataclass(frozen=True, eq=False)
class Pcfg:
    """A grammar of rules A → B C and A → t, whose probabilities are those of the rules given their left sides,

        P(A → B C) = count(A → B C) / count(A),        P(A at the top) = count(A at the top) / trees

    Attributes:
        symbols: the S symbols, by their places in what follows.
        parents: A of every binary rule, in increasing order.
        left, right: B and C of each.
        scores: ln P of each.
        lexical: of every tag ln P(A → t), −∞ where there is no such rule.
        starts: ln P of each symbol at the top.
    """

    symbols: tuple[str, ...]
    parents: Int[np.ndarray, " R"]
    left: Int[np.ndarray, " R"]
    right: Int[np.ndarray, " R"]
    scores: Float64[np.ndarray, " R"]
    lexical: Mapping[str, Float64[np.ndarray, " S"]]
    starts: Float64[np.ndarray, " S"]

    @classmethod
    def learn(
        cls,
        binary: Mapping[tuple[str, str, str], int],
        lexical: Mapping[tuple[str, str], int],
        starts: Mapping[str, int],
    ) -> "Pcfg":
        """Returns the grammar of counted rules. Raises ValueError without a symbol at the top."""
        if not starts:
            raise ValueError("there is no tree to count rules of: give at least one")
        symbols = sorted({*starts, *(a for a, _ in lexical), *(s for rule in binary for s in rule)})
        place = {symbol: number for number, symbol in enumerate(symbols)}
        totals = Counter[str]()
        for rule, count in [*binary.items(), *lexical.items()]:
            totals[rule[0]] += count
        rules = sorted(binary, key=lambda rule: tuple(place[symbol] for symbol in rule))
        places = np.array([[place[symbol] for symbol in rule] for rule in rules], int).reshape(-1, 3)
        words: dict[str, np.ndarray] = {}
        for (symbol, tag), count in lexical.items():
            row = words.setdefault(tag, np.full(len(symbols), -np.inf))
            row[place[symbol]] = np.log(count / totals[symbol])
        top = np.full(len(symbols), -np.inf)
        for symbol, count in starts.items():
            top[place[symbol]] = np.log(count / sum(starts.values()))
        scores = np.array([np.log(binary[rule] / totals[rule[0]]) for rule in rules])
        parents, left, right = places.T.copy()
        return cls(tuple(symbols), parents, left, right, scores, words, top)

    def parse(self, tags: Sequence[str]) -> tuple[list[Symbol], float] | None:
        """Finds the likeliest parse of a sentence of tags, by Cocke, Younger and Kasami's algorithm.

        Returns its symbols in the order of their opening brackets, and its ln P with the symbol at the top; None if
        the grammar has none.
        """
        if not tags or any(tag not in self.lexical for tag in tags):
            return None
        chart = self.inside(tags)
        final = self.starts + chart[0, len(tags)]
        top = int(np.argmax(final))
        if final[top] == -np.inf:
            return None
        found: list[Symbol] = []
        waiting = [(top, 0, len(tags))]
        while waiting:
            symbol, start, end = waiting.pop()
            found.append((self.symbols[symbol], start, end))
            if end > start + 1:
                left, right, middle = self.best_rule(chart, symbol, start, end)
                waiting += [(right, middle, end), (left, start, middle)]
        return found, float(final[top])

    def inside(self, tags: Sequence[str]) -> Float[np.ndarray, "N ends S"]:
        """Computes ln P of the likeliest tree of each symbol over words i to j − 1, at [i, j]."""
        count = len(tags)
        chart = np.full((count, count + 1, len(self.symbols)), -np.inf)
        for place, tag in enumerate(tags):
            chart[place, place + 1] = self.lexical[tag]
        for width in range(2, count + 1):
            for start in range(count - width + 1):
                end = start + width
                left, right = chart[start, start + 1 : end], chart[start + 1 : end, end]
                has_left, has_right = (left.max(axis=0) > -np.inf), (right.max(axis=0) > -np.inf)
                rules = np.flatnonzero(has_left[self.left] & has_right[self.right])
                if len(rules):
                    pairs = left[:, self.left[rules]] + right[:, self.right[rules]]
                    best, parents = pairs.max(axis=0) + self.scores[rules], self.parents[rules]
                    first = np.flatnonzero(np.diff(parents, prepend=-1))
                    chart[start, end, parents[first]] = np.maximum.reduceat(best, first)
        return chart

    def best_rule(
        self, chart: Float[np.ndarray, "N ends S"], symbol: int, start: int, end: int
    ) -> tuple[int, int, int]:
        """Returns the two symbols that a symbol's likeliest tree over words start to end − 1 begins with, and the
        first word of the second."""
        first, last = np.searchsorted(self.parents, [symbol, symbol + 1]).tolist()
        rules = slice(first, last)
        pairs = (
            chart[start, start + 1 : end][:, self.left[rules]]
            + chart[start + 1 : end, end][:, self.right[rules]]
        )
        split, rule = divmod(int(np.argmax(pairs + self.scores[rules])), last - first)
        return int(self.left[first + rule]), int(self.right[first + rule]), start + 1 + split
