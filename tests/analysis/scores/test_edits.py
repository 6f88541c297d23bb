"""Error rates against a table of edits filled in cell by cell, and against jiwer's."""

import numpy as np
import pytest

from analysis.scores.edits import DoubledLetters, ErrorRate, edit_distance
from analysis.scores.statistics import corpus_score
from tests.analysis.scores.corpus import SEED, corpus


def slow_distance(one: str, other: str) -> int:
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for i, a in enumerate(one, 1):
        for j, b in enumerate(other, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
    return int(table[-1, -1])


def test_distance_is_that_of_the_table() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = ("".join(rng.choice(list("abc"), rng.integers(0, 9))) for _ in range(2))
        assert edit_distance(one, other) == slow_distance(one, other)


@pytest.mark.peers
def test_rates_are_those_of_jiwer() -> None:
    jiwer = pytest.importorskip("jiwer")
    predictions, references = corpus(SEED, 60)
    assert corpus_score(ErrorRate(words=True), predictions, references) == pytest.approx(
        jiwer.wer(references, predictions)
    )
    assert corpus_score(ErrorRate(), predictions, references) == pytest.approx(
        jiwer.cer(references, predictions)
    )
    for prediction in ("", "a b"):
        for words, theirs in ((True, jiwer.wer), (False, jiwer.cer)):
            assert corpus_score(ErrorRate(words), [prediction], [""]) == theirs([""], [prediction])


def test_doubled_letters_are_counted_by_their_alignment() -> None:
    """ "ee" and "55" in the references; of two equal ones left out it doesn't matter which."""
    doubled = DoubledLetters()
    assert doubled.of("three five", "three five").tolist() == [1, 1]
    assert doubled.of("thre five", "three five").tolist() == [0, 1]
    assert doubled.of("155", "1555").tolist() == [1, 2]
    assert doubled.of("x55", "155").tolist() == [1, 1]
    assert doubled.of("a  b", "a  b").tolist() == [0, 0]
    assert corpus_score(doubled, ["55", "66"], ["55", "67"]) == 1.0
    with pytest.raises(ValueError, match="no doubled letter"):
        doubled.value(np.array([0, 0]))
    assert corpus_score(ErrorRate(), ["abc"], ["a"]) == 2.0
