"""Corpus scores against sacrebleu itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import example, given
from hypothesis import strategies as st

from analysis import (
    Bleu,
    ChrF,
    ExactMatch,
    LengthRatio,
    Statistics,
    corpus_score,
    sentence_counts,
)
from analysis.scores.texts import WordAccuracy
from tests.analysis.scores.corpus import SEED, corpus


@pytest.mark.parametrize("lowercase", [False, True])
@given(st.integers(0, 10**6), st.integers(1, 6))
@example(SEED, 200)
def test_bleu_is_that_of_sacrebleu(lowercase: bool, seed: int, count: int) -> None:
    """The vector of each sentence, and the score of their sum, however small the corpus."""
    predictions, references = corpus(seed, count)
    bleu = Bleu(lowercase)
    vectors = sentence_counts(bleu, predictions, references)
    for text, reference, vector in zip(predictions, references, vectors, strict=True):
        own = sacrebleu.BLEU(lowercase=lowercase, effective_order=True).sentence_score(text, [reference])
        assert vector.tolist() == [own.sys_len, own.ref_len, *own.counts, *own.totals]
    whole = sacrebleu.corpus_bleu(predictions, [references], lowercase=lowercase)
    assert bleu.value(vectors.sum(axis=0)) == pytest.approx(whole.score, abs=1e-9)
    assert corpus_score(bleu, predictions, references) == pytest.approx(whole.score, abs=1e-9)


def test_cases_differ() -> None:
    texts = corpus(SEED, 50)
    assert corpus_score(Bleu(lowercase=True), *texts) > corpus_score(Bleu(), *texts) + 0.1


def test_signatures() -> None:
    """As sacrebleu asks to publish them, after its own computation or before ours."""
    assert Bleu().signature == "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"
    assert Bleu(lowercase=True).signature == "nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:2.6.0"
    theirs = sacrebleu.CHRF()
    theirs.corpus_score(["a"], [["a"]])
    assert ChrF().signature == str(theirs.get_signature())


@pytest.mark.parametrize("lowercase", [False, True])
def test_chrf_is_that_of_sacrebleu(lowercase: bool) -> None:
    predictions, references = corpus(SEED, 60)
    metric = ChrF(lowercase)
    theirs = sacrebleu.CHRF(lowercase=lowercase)
    assert corpus_score(metric, predictions, references) == pytest.approx(
        theirs.corpus_score(predictions, [references]).score, abs=1e-9
    )
    for text, reference in zip(predictions, references, strict=True):
        alone = metric.value(metric.of(text, reference))
        assert alone == pytest.approx(theirs.sentence_score(text, [reference]).score, abs=1e-9)


def test_exact_match_and_length_ratio() -> None:
    assert corpus_score(ExactMatch(), ["a b", "a", ""], ["a b", "b", ""]) == 2 / 3
    assert corpus_score(ExactMatch(), [(1, 2), (3,)], [(1, 2), (4,)]) == 0.5
    predictions, references = corpus(SEED, 40)
    whole = sacrebleu.corpus_bleu(predictions, [references])
    assert corpus_score(LengthRatio(), predictions, references) == whole.sys_len / whole.ref_len


@pytest.mark.parametrize("statistics", [Bleu(), ChrF(), ExactMatch(), LengthRatio()], ids=str)
def test_vectors_add(statistics: Any) -> None:
    """Over any shares of the sentences, as floats too."""
    assert isinstance(statistics, Statistics)
    texts = corpus(SEED, 21)
    vectors = sentence_counts(statistics, *texts)
    assert vectors.shape == (21, statistics.size)
    shares = [vectors[start::4].astype(float).sum(axis=0) for start in range(4)]
    assert statistics.value(np.sum(shares, axis=0)) == corpus_score(statistics, *texts)


# --- mistakes


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a"], ["a", "b"], "there are 1 predictions, but 2 references: give one for each"),
        ([], [], "there is no sentence to score: give at least one"),
    ],
)
def test_texts_that_do_not_pair(predictions: Sequence[str], references: Sequence[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corpus_score(ExactMatch(), predictions, references)


def test_nothing_to_divide_by() -> None:
    with pytest.raises(ValueError, match="the references have no words"):
        corpus_score(LengthRatio(), ["a"], [""])


def test_words_in_place() -> None:
    """Words that stand at the same place, over those of the references."""
    score = WordAccuracy()
    assert score.of("the dog ran off", "the cat ran").tolist() == [2, 3]
    assert corpus_score(score, ["a b", ""], ["b a", "c"]) == 0
    assert corpus_score(score, ["a b", "c"], ["a b", "c d"]) == 0.75
