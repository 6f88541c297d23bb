"""Precision, recall and F1 of the first k terms of a ranking, averaged over documents or over terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

Measure = Literal["precision", "recall", "f1"]
Average = Literal["macro", "micro"]


@dataclass(frozen=True)
class RankedTerms:
    """Agreement of the first k terms of a ranking with those of a document:

        P = hits / guesses        R = hits / gold        F1 = 2 P R / (P + R) = 2 hits / (guesses + gold)

    `macro` computes the measure for each document and averages it, so that all documents count alike; `micro`
    computes it of the counts of all documents. A ranking's repetitions are left out before it is cut at k, and one
    with fewer terms makes fewer guesses. Terms agree where they are equal: stem them before, for stemmed scores.

    The counts of a document are hits, guesses and gold, its precision, recall and F1, and 1.

    Raises ValueError for k below 1 and, in `of`, for a document without gold.
    """

    k: int
    measure: Measure = "f1"
    average: Average = "macro"
    size = 7

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, but is {self.k}")

    def of(self, prediction: Sequence[str], reference: Sequence[str]) -> Float[np.ndarray, "7"]:
        """Returns the counts of one document, of its ranking and its key terms."""
        guessed, gold = list(dict.fromkeys(prediction))[: self.k], set(reference)
        if not gold:
            raise ValueError("a document has no key terms to compare with: leave it out")
        hits = len(gold.intersection(guessed))
        return np.array(
            [hits, len(guessed), len(gold), *measures(hits, len(guessed), len(gold)), 1], np.float64
        )

    def value(self, total: Float[np.ndarray, "7"]) -> float:
        """Returns the score of a sum of counts, 0 … 1. Raises ValueError without a document."""
        counts, sums, documents = total[:3].tolist(), total[3:6].tolist(), float(total[6])
        if not documents:
            raise ValueError("there is no document to score: give at least one")
        of_all = measures(*counts) if self.average == "micro" else tuple(s / documents for s in sums)
        return of_all[get_args(Measure).index(self.measure)]


def measures(hits: int | float, guesses: int | float, gold: int | float) -> tuple[float, float, float]:
    """Returns precision (0 without a guess), recall and F1."""
    return hits / guesses if guesses else 0.0, hits / gold, 2 * hits / (guesses + gold)
