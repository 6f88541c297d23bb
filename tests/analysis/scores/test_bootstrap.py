"""The bootstrap of corpus scores against resampled corpora, and against sacrebleu's."""

import numpy as np
import pytest
import sacrebleu

from analysis import Bleu, ExactMatch, bootstrap, bootstrap_interval, sentence_counts
from tests.analysis.scores.corpus import SEED, corpus


def test_bootstrap_scores_resampled_texts() -> None:
    """Each score is sacrebleu's of the very sentences drawn."""
    predictions, references = corpus(SEED, 30)
    vectors = sentence_counts(Bleu(), predictions, references)
    scores = bootstrap(Bleu(), vectors, samples=5, seed=3)
    rng = np.random.default_rng(3)
    for score in scores:
        drawn = rng.integers(30, size=30)
        texts = [[column[i] for i in drawn] for column in (predictions, references)]
        assert score == pytest.approx(sacrebleu.corpus_bleu(texts[0], [texts[1]]).score, abs=1e-9)


def test_interval_is_near_that_of_sacrebleu() -> None:
    """Half its width and its middle, by other random numbers."""
    predictions, references = corpus(SEED, 100)
    theirs = sacrebleu.BLEU().corpus_score(predictions, [references], n_bootstrap=1000)
    vectors = sentence_counts(Bleu(), predictions, references)
    low, high = bootstrap_interval(Bleu(), vectors, seed=1)
    assert low < theirs.score < high
    assert (high - low) / 2 == pytest.approx(theirs._ci, rel=0.15)
    assert (high + low) / 2 == pytest.approx(theirs._mean, abs=0.2 * theirs._ci)
    assert (low, high) == bootstrap_interval(Bleu(), vectors, seed=1)
    inner = bootstrap_interval(Bleu(), vectors, confidence=0.5, seed=1)
    assert low < inner[0] < inner[1] < high


def test_the_same_seed_draws_the_same_sentences() -> None:
    """So that a system that is right once more a hundred sentences is better in all samples that hold one."""
    matches = np.stack([np.arange(100) % 2, np.ones(100, int)], axis=1)
    better = matches.copy()
    better[0, 0] = 1
    scores = [bootstrap(ExactMatch(), vectors, samples=200, seed=7) for vectors in (matches, better)]
    assert (scores[1] >= scores[0]).all()
    assert 0.5 < (scores[1] > scores[0]).mean() < 0.75  # 1 − (99/100)^100 = 0.63
    assert scores[0].std() == pytest.approx(0.05, rel=0.2)  # √(¼ / 100)


def test_refused() -> None:
    with pytest.raises(ValueError, match="there are 0 sentences and 1000 samples"):
        bootstrap(ExactMatch(), np.zeros((0, 2), int))
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, but is 95"):
        bootstrap_interval(ExactMatch(), np.ones((1, 2), int), confidence=95.0)
