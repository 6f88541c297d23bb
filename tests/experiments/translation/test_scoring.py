"""Scores of translations against sacrebleu's own, and the translations without a net that stand beside them."""

import pytest
import sacrebleu

from data import Pair
from experiments.translation.scoring import (
    METRICS,
    STATISTICS,
    compared,
    intervals,
    join_tokens,
    score_translations,
    signatures,
)

TRAIN = [
    Pair("das Haus.", "the house."),
    Pair("das Buch.", "the book."),
    Pair("ein Buch.", "a book."),
    Pair("das Buch!", "the book!"),
]


def test_scores_are_those_of_sacrebleu() -> None:
    predictions = ["The house is red, isn't it?", "a book", "two men are sitting on a bench"]
    references = ["the house is red, isn't it?", "the book", "two men sit on a bench"]
    found = score_translations(predictions, references)
    assert set(found) == set(METRICS) - {"cross_entropy"} == set(STATISTICS)
    expected = sacrebleu.corpus_bleu(predictions, [references], lowercase=True)
    assert found["bleu_lowercased"] == pytest.approx(expected.score)
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(predictions, [references]).score)
    assert found["length_ratio"] == pytest.approx(expected.sys_len / expected.ref_len)
    assert found["exact"] == 0
    low, high = intervals(predictions, references)["bleu"]
    assert low <= found["bleu"] <= high
    assert "case:lc" in signatures()["bleu_lowercased"]
    assert "case:mixed" in signatures()["bleu"]


def test_translations_without_a_net() -> None:
    """Word for word, unknown words kept and punctuation joined; of generated pairs the commonest target."""
    sources = ["ein Haus.", "das Radio!"]
    real = compared(TRAIN, sources, generated=False)
    assert real == {"the source itself": sources, "word for word": ["a house.", "the Radio!"]}
    made = compared([*TRAIN, TRAIN[1]], sources, generated=True)
    assert made == {"the source itself": sources, "the commonest target": ["the book."] * 2}
    assert join_tokens(["so", ",", "well", "…"]) == "so, well…"
