"""Word vectors by their neighbours, analogies and similarities.

A word is looked up as it is, or by the first word of the vocabulary that differs only in case. Axes: V words, D
numbers in a vector, Q questions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

Distance = Literal["cosine", "euclidean"]
TOGETHER = 512  # questions answered in one matrix product


class Similarity(NamedTuple):
    """Spearman's rank correlation of cosines with people's scores, and how many pairs both of whose words have a
    vector."""

    spearman: float
    covered: int
    pairs: int


class Section(NamedTuple):
    """Counts of a section: analogies answered correctly, those all of whose words have a vector, and all."""

    correct: int
    covered: int
    questions: int


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors `matrix [V, D]` of the words, most frequent first."""

    words: tuple[str, ...]
    matrix: Float[np.ndarray, "V D"]

    @cached_property
    def unit(self) -> Float[np.ndarray, "V D"]:
        """The vectors divided by their lengths; a vector of zero stays zero."""
        norms = np.linalg.norm(self.matrix, axis=1, keepdims=True)
        return self.matrix / np.where(norms > 0, norms, 1)

    @cached_property
    def _rows(self) -> tuple[dict[str, int], dict[str, int]]:
        """The rows of words, and of their lower-cased forms."""
        folded: dict[str, int] = {}
        for row, word in enumerate(self.words):
            folded.setdefault(word.lower(), row)
        return {word: row for row, word in enumerate(self.words)}, folded

    def row(self, word: str) -> int | None:
        """Returns the row of a word, None for one without a vector."""
        exact, folded = self._rows
        return exact.get(word, folded.get(word.lower()))

    def rows(self, words: Sequence[str]) -> Int[np.ndarray, "N"]:
        """Returns the rows of words. Raises ValueError, naming them, for those without a vector."""
        found = [self.row(word) for word in words]
        unknown = [word for word, row in zip(words, found, strict=True) if row is None]
        if unknown:
            raise ValueError(
                f"there is no vector of {', '.join(map(repr, unknown))}: name words of the vocabulary"
            )
        return np.array(found)


def nearest(
    vectors: Vectors,
    query: Float[np.ndarray, "D"],
    count: int,
    *,
    without: Sequence[int] = (),
    distance: Distance = "cosine",
) -> list[tuple[str, float]]:
    """Returns the words nearest to a vector with their cosines or Euclidean distances, nearest first, but for the
    rows `without`."""
    if distance == "cosine":
        values = vectors.unit @ (query / (np.linalg.norm(query) or 1))
        order = np.argsort(-values, kind="stable")
    else:
        values = np.linalg.norm(vectors.matrix - query, axis=1)
        order = np.argsort(values, kind="stable")
    left_out = set(without)
    chosen = [row for row in order[: count + len(left_out)].tolist() if row not in left_out][:count]
    return [(vectors.words[row], float(values[row])) for row in chosen]


def neighbours(
    vectors: Vectors, word: str, count: int = 10, distance: Distance = "cosine"
) -> list[tuple[str, float]]:
    """Returns the nearest words of a word, without itself. Raises ValueError for a word without a vector."""
    (row,) = vectors.rows([word])
    return nearest(vectors, vectors.matrix[row], count, without=[int(row)], distance=distance)


def analogy(
    vectors: Vectors, a: str, b: str, c: str, count: int = 10, distance: Distance = "cosine"
) -> list[tuple[str, float]]:
    """Returns the words d for which a is to b as c is to d, without the three: the nearest to b − a + c, of unit
    vectors for cosines (Mikolov, Yih & Zweig 2013). Raises ValueError, naming them, for words without a vector."""
    rows = vectors.rows([a, b, c])
    first, second, third = (vectors.unit if distance == "cosine" else vectors.matrix)[rows]
    return nearest(vectors, second - first + third, count, without=rows.tolist(), distance=distance)


def similarity(vectors: Vectors, pairs: Sequence[tuple[str, str, float]]) -> Similarity:
    """Compares cosines with people's scores of the pairs both of whose words have a vector. The correlation is NaN
    of fewer than two pairs, or where one side is constant."""
    found = [(vectors.row(a), vectors.row(b), score) for a, b, score in pairs]
    known = [(a, b, score) for a, b, score in found if a is not None and b is not None]
    if len(known) < 2:
        return Similarity(float("nan"), len(known), len(pairs))
    one, other, scores = (np.array(column) for column in zip(*known, strict=True))
    cosines = np.sum(vectors.unit[one] * vectors.unit[other], axis=1)
    constant = np.ptp(cosines) == 0 or np.ptp(scores) == 0
    return Similarity(float("nan") if constant else rank_correlation(cosines, scores), len(known), len(pairs))


def analogies(
    vectors: Vectors, sections: Mapping[str, Sequence[tuple[str, str, str, str]]]
) -> dict[str, Section]:
    """Answers the questions all of whose words have a vector: correct if d is the first answer of `analogy`."""
    return {name: _section(vectors, questions) for name, questions in sections.items()}


def _section(vectors: Vectors, questions: Sequence[tuple[str, str, str, str]]) -> Section:
    found = [[vectors.row(word) for word in question] for question in questions]
    rows = np.array([row for row in found if None not in row], np.int64).reshape(-1, 4)
    correct = 0
    for part in np.array_split(rows, max(-(-len(rows) // TOGETHER), 1)):
        unit = vectors.unit
        scores = (unit[part[:, 1]] - unit[part[:, 0]] + unit[part[:, 2]]) @ unit.T
        np.put_along_axis(scores, part[:, :3], -np.inf, axis=1)
        correct += int(np.sum(scores.argmax(axis=1) == part[:, 3])) if len(part) else 0
    return Section(correct, len(rows), len(questions))


def map_of_words(vectors: Vectors, rows: Int[np.ndarray, "N"], seed: int = 0) -> Float[np.ndarray, "N 2"]:
    """Places words in a plane, as `places_in_plane` does their unit vectors."""
    return places_in_plane(vectors.unit[rows], seed)


def places_in_plane(vectors: Float[np.ndarray, "N S"], seed: int = 0) -> Float[np.ndarray, "N 2"]:
    """Places vectors in a plane by t-SNE of their cosines, begun at their principal components (van der Maaten &
    Hinton 2008)."""
    from sklearn.manifold import TSNE

    perplexity = min(20.0, max((len(vectors) - 1) / 3, 1.0))
    tsne = TSNE(init="pca", perplexity=perplexity, metric="cosine", random_state=seed)
    with threadpool_limits(1):  # its threads wait for one another with so few vectors
        return tsne.fit_transform(vectors.astype(np.float64))


def agreement(one: Vectors, other: Vectors, rows: Int[np.ndarray, "N"]) -> float:
    """Computes Spearman's rank correlation between the cosines of all pairs of these words in two sets of
    vectors."""
    upper: Callable[[np.ndarray], np.ndarray] = lambda unit: (unit @ unit.T)[np.triu_indices(len(rows), 1)]  # noqa: E731
    return rank_correlation(upper(one.unit[rows]), upper(other.unit[rows]))


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Computes Spearman's rank correlation of two lists of numbers."""
    from scipy.stats import spearmanr  # slow to import, and a list of options waits for this module

    found: Any = spearmanr(one, other)
    return float(found.statistic)
