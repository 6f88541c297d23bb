"""Error rates of recognised texts: edits from the reference to the prediction, over the size of the reference."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from analysis.scores.statistics import ratio


def edit_distance(prediction: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """Counts the fewest insertions, deletions and substitutions that make one of the other. Levenshtein 1966."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(reference, prediction)


@dataclass(frozen=True)
class ErrorRate:
    """The edits of all texts over the letters of all references (CER), or over their words (WER); it may exceed 1.
    Where the references are empty it is the number of edits, as of jiwer. Counts: edits, letters or words."""

    words: bool = False
    size = 2

    def of(self, prediction: str, reference: str) -> Shaped[np.ndarray, "2"]:
        """Returns the counts of one text."""
        parts: Any = (prediction.split(), reference.split()) if self.words else (prediction, reference)
        return np.array([edit_distance(*parts), len(parts[1])], np.int64)

    def value(self, total: Shaped[np.ndarray, "2"]) -> float:
        """Returns the rate of a sum of counts."""
        return float(total[0]) / max(float(total[1]), 1.0)


@dataclass(frozen=True)
class DoubledLetters:
    """The share of equal neighbours in the references that both stand in the prediction, by the fewest edits: what
    trimming equal neighbours never spells. Counts: those that do, and all."""

    size = 2

    def of(self, prediction: str, reference: str) -> Shaped[np.ndarray, "2"]:
        """Returns the counts of one text."""
        from rapidfuzz.distance import Levenshtein

        wrong = {edit.src_pos for edit in Levenshtein.editops(reference, prediction) if edit.tag != "insert"}
        pairs = [i for i in range(len(reference) - 1) if reference[i] == reference[i + 1] != " "]
        right = [i for i in pairs if i not in wrong and i + 1 not in wrong]
        return np.array([len(right), len(pairs)], np.int64)

    def value(self, total: Shaped[np.ndarray, "2"]) -> float:
        """Returns the rate of a sum of counts."""
        return ratio(total, "there is no doubled letter")
