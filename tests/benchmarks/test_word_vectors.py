"""The benchmark of word vectors: both sides learn the same words of a small made text."""

import numpy as np
import pytest

from benchmarks import word_vectors


@pytest.mark.peers
def test_both_sides_learn_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gensim")
    monkeypatch.setattr(word_vectors, "MADE", 5000)
    monkeypatch.setattr(word_vectors, "TYPES", 60)
    text = word_vectors.text_of("")
    (seconds, (words, matrix)), (other, (theirs, rows)) = (
        side(text, "cbow", 1)(0) for side in (word_vectors.ours, word_vectors.gensim)
    )
    assert set(words) == set(theirs)
    assert matrix.shape == rows.shape == (60, 100)
    assert np.isfinite(matrix).all()
    assert min(seconds, other) > 0


def test_rows() -> None:
    row = {"architecture": "cbow", "side": "ours", "seconds": 2.0, "words_per_second": 1.5e6}
    row["scores"] = {"similarity_WS": 0.5, "analogies": 0.1}
    assert word_vectors.format_rows([row]).split() == [
        *("cbow", "ours", "2.0", "s", "1.500", "million", "words", "a", "second"),
        *("WS", "0.500", "analogies", "0.100"),
    ]
