"""Scores of a corpus.

A score is made of counts that add. `Statistics` gives a vector for each sentence, and the score of a sum of them.
So scores add over batches, devices and processes, and are resampled (`bootstrap`) without counting anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Shaped

Answer = TypeVar("Answer", contravariant=True)


@runtime_checkable
class Statistics(Protocol[Answer]):
    """A corpus score: counts of one sentence, and the score of their sum over many.

    `size` is the number of counts."""

    @property
    def size(self) -> int: ...

    def of(self, prediction: Answer, reference: Answer) -> Shaped[np.ndarray, " size"]:
        """Returns the counts of one sentence."""
        ...

    def value(self, total: Shaped[np.ndarray, " size"]) -> float:
        """Returns the score of a sum of counts."""
        ...


@dataclass(frozen=True)
class ExactMatch:
    """The share of predictions that equal their references, of whatever type. Counts: those equal, and all."""

    size = 2

    def of(self, prediction: object, reference: object) -> Shaped[np.ndarray, "2"]:
        return np.array([prediction == reference, 1], np.int64)

    def value(self, total: Shaped[np.ndarray, "2"]) -> float:
        return ratio(total, "there is no sentence to score")


def ratio(total: Shaped[np.ndarray, "2"], otherwise: str) -> float:
    """Returns the first count over the second. Raises ValueError, with the sentence given, if that is zero."""
    part, whole = total.tolist()
    if not whole:
        raise ValueError(f"{otherwise}: give at least one")
    return part / whole


def sentence_counts(
    statistics: Statistics[Answer], predictions: Sequence[Answer], references: Sequence[Answer]
) -> Shaped[np.ndarray, "N size"]:
    """Returns the vector of each sentence, `[N, size]`. Raises ValueError if there aren't as many predictions as
    references."""
    if len(predictions) != len(references):
        raise ValueError(
            f"there are {len(predictions)} predictions, but {len(references)} references: give one for each"
        )
    vectors = [statistics.of(*pair) for pair in zip(predictions, references, strict=True)]
    return np.array(vectors).reshape(len(vectors), statistics.size)


def corpus_score(
    statistics: Statistics[Answer], predictions: Sequence[Answer], references: Sequence[Answer]
) -> float:
    """Computes the score of a corpus. Raises ValueError if there aren't as many predictions as references, or
    none."""
    vectors = sentence_counts(statistics, predictions, references)
    if not len(vectors):
        raise ValueError("there is no sentence to score: give at least one")
    return statistics.value(vectors.sum(axis=0))
