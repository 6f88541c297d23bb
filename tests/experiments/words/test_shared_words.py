"""The simple answer to the next sentence, on pairs by hand."""

import numpy as np
import pytest

from data import MaskedBatch, Sentences
from experiments.words.shared_words import best_bound, cosines, shared_words, weights, whole

# Types 0 … 5, then the marks of beginning, end and a hidden word.
TEXT = Sentences(np.array([0, 1, 1, 0, 2, 0, 3, 4, 5]), np.array([0, 3, 5, 7, 9]))


def pair(first: list[int], second: list[int], follows: int, hidden: int = 0) -> MaskedBatch:
    """A pair [begin] first [end] second [end], the word at place 1 hidden and its answer kept."""
    ids = np.array([6, *first, 7, *second, 7])
    spans = np.array([0] * (len(first) + 2) + [1] * (len(second) + 1))
    answer = ids[1]
    ids[1] = 8 if hidden else ids[1]
    one, chosen = np.ones((1, 1), np.int32), np.full((1, 1), bool(hidden))
    columns = (ids[:, None], np.ones((len(ids), 1), bool), spans[:, None])
    return MaskedBatch(*columns, one, one * answer, chosen, np.array([follows]))


def test_hidden_words_are_put_back() -> None:
    assert whole(pair([0, 1], [2, 3], 1, hidden=1))[:, 0].tolist() == [6, 0, 1, 7, 2, 3, 7]


def test_weights() -> None:
    """Of four sentences three hold type 0, one each of the others."""
    np.testing.assert_allclose(weights(TEXT, 6), np.log([4 / 4, 2, 2, 2, 2, 2]))


def test_cosines() -> None:
    """Words count once, marks not at all: {1, 2} and {2, 3} share one of two words of the same weight."""
    values, follows = cosines(pair([1, 2, 2], [2, 3], 1, hidden=1), weights(TEXT, 6))
    assert values[0] == pytest.approx(0.5)
    assert follows.tolist() == [True]
    assert cosines(pair([0, 0], [3], 0), weights(TEXT, 6))[0].tolist() == [
        0.0
    ]  # a weight of 0 isn't divided by


def test_bound() -> None:
    values, follows = np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, False, True, True])
    assert best_bound(values, follows) == 0.2
    assert best_bound(values, np.ones(4, bool)) == -np.inf


def test_shared_words() -> None:
    drawn = [pair([1, 2], [1, 2], 1), pair([1, 2], [3, 4], 0)]
    assert shared_words(TEXT, 6, drawn, [pair([3, 4], [3, 4], 1), pair([3, 4], [1], 0)]) == 1
    assert shared_words(TEXT, 6, drawn, [pair([3, 4], [3, 4], 0), pair([3, 4], [1], 0)]) == 0.5
