"""Scores of translations against sacrebleu's own, and the translations without a net that stand beside them."""

import pytest
import sacrebleu

from data import Pair, ParallelConfig
from experiments.translation.config import TranslationConfig
from experiments.translation.scoring import (
    METRICS,
    SHORT,
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
    assert set(found) == set(METRICS) - {"cross_entropy", "value"} == set(STATISTICS)
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


def test_expressions_are_judged_by_their_values_too() -> None:
    predictions, references = ["3+2", "2*(3+4)", "2*"], ["2+3", "2*(3+4)", "2*3"]
    config = TranslationConfig(data=ParallelConfig(kind="programs"))
    found = score_translations(predictions, references, config.statistics)
    assert set(found) == set(METRICS) - {"cross_entropy"}
    assert found["exact"] == 1 / 3
    assert found["value"] == 2 / 3
    assert list(intervals(predictions, references, config.statistics)) == list(SHORT)
    assert config.title == "translation of arithmetic in English → Python"
    assert TranslationConfig().statistics is STATISTICS
