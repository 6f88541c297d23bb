"""Precision, recall and F1 at k: by hand, against scikit-learn, in sums."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from analysis.scores.key_terms import RankedTerms, measures
from analysis.scores.statistics import Statistics, corpus_score, sentence_counts

RANKED = [["a", "b", "c", "d"], ["x", "x", "y"], ["n"]]
GOLD = [["a", "d", "e"], ["y", "z"], ["m", "o"]]


def test_by_hand() -> None:
    """At 2: hits 1 of 2 guesses and 3 gold; x and y (once each) hit 1 of 2; nothing of one guess."""
    assert isinstance(RankedTerms(2), Statistics)

    def at(k: int, measure: str, average: str) -> float:
        return corpus_score(RankedTerms(k, measure, average), RANKED, GOLD)  # type: ignore[arg-type]

    assert at(2, "precision", "macro") == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert at(2, "recall", "macro") == pytest.approx((1 / 3 + 1 / 2 + 0) / 3)
    assert at(2, "f1", "macro") == pytest.approx((2 / 5 + 2 / 4 + 0) / 3)
    assert at(2, "precision", "micro") == pytest.approx(2 / 5)
    assert at(2, "recall", "micro") == pytest.approx(2 / 7)
    assert at(2, "f1", "micro") == pytest.approx(2 * 2 / 12)
    assert at(10, "recall", "micro") == pytest.approx(3 / 7)


def test_agrees_with_scikit_learn() -> None:
    """Each document as a row of labels, of a thousand drawn at random: scikit-learn's averages over its rows."""
    random = np.random.default_rng(0)
    terms, k = [f"t{i}" for i in range(12)], 5
    ranked = [random.permutation(terms)[: random.integers(1, 9)].tolist() for _ in range(1000)]
    gold = [random.permutation(terms)[: random.integers(1, 9)].tolist() for _ in range(1000)]
    guess = np.array([[t in r[:k] for t in terms] for r in ranked])
    truth = np.array([[t in g for t in terms] for g in gold])
    for average, theirs in (("macro", "samples"), ("micro", "micro")):
        wanted = precision_recall_fscore_support(truth, guess, average=theirs)[:3]
        found = [
            corpus_score(RankedTerms(k, measure, average), ranked, gold)  # type: ignore[arg-type]
            for measure in ("precision", "recall", "f1")
        ]
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_sums_over_parts_are_the_whole() -> None:
    score = RankedTerms(3)
    vectors = sentence_counts(score, RANKED, GOLD)
    assert score.value(vectors[:1].sum(0) + vectors[1:].sum(0)) == corpus_score(score, RANKED, GOLD)
    assert measures(0, 0, 2) == (0, 0, 0)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="a document has no key terms to compare with: leave it out"):
        RankedTerms(5).of(["a"], [])
    with pytest.raises(ValueError, match="k must be at least 1, but is 0"):
        RankedTerms(0)
    with pytest.raises(ValueError, match="there is no document to score"):
        RankedTerms(5).value(np.zeros(7))
