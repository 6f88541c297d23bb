"""IBM model 1 against a loop over dictionaries, and on pairs whose translations are known."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from models.word_translation import EMPTY, WordTranslation

# Knight's workbook: the words of the third pair follow from the first two.
PAIRS = [
    (["das", "Haus"], ["the", "house"]),
    (["das", "Buch"], ["the", "book"]),
    (["ein", "Buch"], ["a", "book"]),
]


def by_loops(pairs: Sequence[tuple[list[str], list[str]]], iterations: int) -> tuple[dict, list[float]]:
    """p(t | s), and the log likelihood before each iteration, as Brown et al. write them."""
    words = {t for _, target in pairs for t in target}
    p: dict[tuple[str, str], float] = defaultdict(lambda: 1 / len(words))
    reached = []
    for _ in range(iterations):
        count: dict[tuple[str, str], float] = defaultdict(float)
        total: dict[str, float] = defaultdict(float)
        likelihood = 0.0
        for source, target in pairs:
            with_empty = [EMPTY, *source]
            for t in target:
                norm = sum(p[s, t] for s in with_empty)
                likelihood += math.log(norm / len(with_empty))
                for s in with_empty:
                    count[s, t] += p[s, t] / norm
                    total[s] += p[s, t] / norm
        reached.append(likelihood)
        p = defaultdict(float, {(s, t): c / total[s] for (s, t), c in count.items()})
    return p, reached


def test_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    random = [
        (
            [f"s{i}" for i in rng.integers(6, size=rng.integers(0, 6))],
            [f"t{i}" for i in rng.integers(7, size=4)],
        )
        for _ in range(20)
    ]
    for pairs in (PAIRS, random):
        learned, (expected, reached) = WordTranslation.learn(pairs, 4), by_loops(pairs, 4)
        found = {
            (learned.sources[s], learned.targets[t]): p
            for s, t, p in zip(learned.source, learned.target, learned.probability, strict=True)
        }
        assert found.keys() == expected.keys()
        for pair, p in expected.items():
            np.testing.assert_allclose(found[pair], p, rtol=1e-12)
        np.testing.assert_allclose(learned.log_likelihoods, reached, rtol=1e-12)
        assert (np.diff(learned.log_likelihoods) > 0).all()


def test_translates_word_by_word() -> None:
    """The words that stand together most often; those never seen stay."""
    learned = WordTranslation.learn(PAIRS, 20)
    assert learned.translate(["ein", "Haus", "7"]) == ["a", "house", "7"]
    assert EMPTY not in learned.likeliest


def test_refuses() -> None:
    with pytest.raises(ValueError, match="iterations is 0; it must be at least 1"):
        WordTranslation.learn(PAIRS, 0)
    with pytest.raises(ValueError, match="no target sentence has a word"):
        WordTranslation.learn([(["a"], [])])
