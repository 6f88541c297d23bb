"""Constituents of sentences, scored as the program EVALB does."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from analysis.scores.spans import Span
from analysis.scores.statistics import ratio

PUNCTUATION = frozenset((",", ":", "``", "''", "."))  # tags, as EVALB's COLLINS.prm deletes them
EQUAL = {"PRT": "ADVP"}  # labels that count as others


class Bracketing(NamedTuple):
    """The constituents of a sentence, without one around the whole that every sentence has, and its tags."""

    spans: tuple[Span, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class BracketF1:
    """F1 of constituents by label and both ends, 0 … 1, by the rules of EVALB (Sekine & Collins 1997; Black et al.
    1991):

        F1 = 2PR / (P + R) = 2 · hits / (guesses + golds),    P = hits / guesses,    R = hits / golds

    over the whole corpus. Punctuation is deleted first, by the tags of the reference, and the words after it move
    up; constituents that hold nothing else vanish. PRT counts as ADVP. Of constituents with the same label and
    words as many match as both have. With `labelled` False labels are ignored. 0 where there is no constituent.

    Counts: hits, guesses, golds.
    """

    labelled: bool = True
    punctuation: frozenset[str] = PUNCTUATION
    size = 3

    def of(self, prediction: Bracketing, reference: Bracketing) -> Shaped[np.ndarray, "3"]:
        """Returns the counts of a sentence. Raises ValueError for another number of words."""
        found, true = self.counted(prediction, reference), self.counted(reference, reference)
        return np.array([(found & true).total(), found.total(), true.total()], np.int64)

    def counted(self, bracketing: Bracketing, reference: Bracketing) -> Counter[Span]:
        """Counts the constituents that remain."""
        if len(bracketing.tags) != len(reference.tags):
            raise ValueError(
                f"{len(bracketing.tags)} words are parsed of a sentence of {len(reference.tags)}: give a tree "
                "over all"
            )
        kept = np.cumsum([0, *(tag not in self.punctuation for tag in reference.tags)]).tolist()
        moved = (Span(label, kept[start], kept[end]) for label, start, end in bracketing.spans)
        return Counter(
            span._replace(type=EQUAL.get(span.type, span.type) if self.labelled else "")
            for span in moved
            if span.start < span.end
        )

    def value(self, total: Shaped[np.ndarray, "3"]) -> float:
        """Computes F1 of a sum of counts."""
        hits, guesses, golds = total.tolist()
        return 2 * hits / (guesses + golds) if guesses + golds else 0.0


@dataclass(frozen=True)
class CompleteMatch:
    """The share of sentences whose constituents are all right, and no others, as `BracketF1` counts them. Counts:
    those sentences, and all."""

    size = 2

    def of(self, prediction: Bracketing, reference: Bracketing) -> Shaped[np.ndarray, "2"]:
        """Returns the counts of a sentence. Raises ValueError for another number of words."""
        hits, guesses, golds = BracketF1().of(prediction, reference).tolist()
        return np.array([hits == guesses == golds, 1], np.int64)

    def value(self, total: Shaped[np.ndarray, "2"]) -> float:
        return ratio(total, "there is no sentence to score")
