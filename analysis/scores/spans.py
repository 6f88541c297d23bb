"""Spans of words with a type, marked by IOB tags, scored as the program conlleval does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped


class Span(NamedTuple):
    """Words `start` to `end` − 1, of a type."""

    type: str
    start: int
    end: int


def iob_spans(tags: Sequence[str]) -> list[Span]:
    """Finds the spans of IOB tags: "B-x" begins one of type x, "I-x" continues it, "O" is outside.

    Tags that don't fit are repaired as conlleval does (Tjong Kim Sang & Buchholz 2000): an "I-x" after "O", after
    another type or at the start begins a span. So tags of the older scheme, in which "B-" is only used between two
    neighbours of one type, are read too.

    Raises ValueError, naming the tag, for one of another form.
    """
    spans: list[Span] = []
    open_type, start = None, 0
    for place, tag in enumerate([*tags, "O"]):
        mark, dash, kind = tag.partition("-")
        if tag != "O" and not (mark in ("B", "I") and dash and kind):
            raise ValueError(f"{tag!r} is no IOB tag: each is O, or B- or I- and a type")
        if open_type is not None and (mark != "I" or kind != open_type):
            spans.append(Span(open_type, start, place))
            open_type = None
        if tag != "O" and open_type is None:
            open_type, start = kind, place
    return spans


@dataclass(frozen=True)
class SpanF1:
    """F1 of spans by their type and both ends, 0 … 1:

        F1 = 2PR / (P + R) = 2 · hits / (guesses + golds),    P = hits / guesses,    R = hits / golds

    micro-averaged over the corpus, as conlleval computes it; see `iob_spans` for the repair. 0 where there is no
    span. A prediction and its reference are texts of tags, blanks between them. Counts: hits, guesses, golds.
    """

    size = 3

    def of(self, prediction: str, reference: str) -> Shaped[np.ndarray, "3"]:
        """Returns the counts of a sentence. Raises ValueError for another number of tags, or one that isn't IOB."""
        guessed, gold = prediction.split(), reference.split()
        if len(guessed) != len(gold):
            raise ValueError(
                f"{len(guessed)} tags are predicted for {len(gold)} words: give one for each word"
            )
        found, true = set(iob_spans(guessed)), set(iob_spans(gold))
        return np.array([len(found & true), len(found), len(true)], np.int64)

    def value(self, total: Shaped[np.ndarray, "3"]) -> float:
        """Computes F1 of a sum of counts."""
        hits, guesses, golds = total.tolist()
        return 2 * hits / (guesses + golds) if guesses + golds else 0.0
