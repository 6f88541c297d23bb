"""Dynamic time warping against all alignments; the nearest segments by hand."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from analysis.speech import warping
from analysis.speech.nearest import chance_at_1, cosine_distances, nearest_others, precision_at_1
from analysis.speech.warping import warped_distances

RNG = np.random.default_rng(0)


def alignments(i: int, j: int) -> Iterator[list[tuple[int, int, int]]]:
    """All ways from the first pair of frames to the pair (i, j): its places, and the weight of each step."""
    if i == j == 0:
        yield [(0, 0, 2)]
    for before_i, before_j, weight in ((i - 1, j, 1), (i, j - 1, 1), (i - 1, j - 1, 2)):
        if before_i >= 0 and before_j >= 0:
            for found in alignments(before_i, before_j):
                yield [*found, (i, j, weight)]


def test_warping_is_the_best_of_all_alignments(monkeypatch: pytest.MonkeyPatch) -> None:
    first = [RNG.normal(size=(n, 2)) for n in (4, 1, 3, 5)]
    second = [RNG.normal(size=(n, 2)) for n in (2, 4, 5)]
    expected: Any = [
        [
            min(
                sum(w * np.linalg.norm(one[i] - other[j]) for i, j, w in path) / (len(one) + len(other))
                for path in alignments(len(one) - 1, len(other) - 1)
            )
            for other in second
        ]
        for one in first
    ]
    np.testing.assert_allclose(warped_distances(first, second), expected, rtol=1e-9)
    monkeypatch.setattr(warping, "TOGETHER", 160)  # two sequences of the first at once
    np.testing.assert_allclose(warped_distances(first, second), expected, rtol=1e-9)


def test_time_may_be_stretched() -> None:
    frames = RNG.normal(size=(5, 3))
    slow = np.repeat(frames, [1, 3, 2, 1, 4], axis=0)
    np.testing.assert_allclose(warped_distances([frames], [slow, frames]), 0, atol=1e-7)


def test_sequences_that_cannot_be_warped_are_refused() -> None:
    with pytest.raises(ValueError, match="each sequence needs a frame"):
        warped_distances([np.zeros((0, 2))], [np.zeros((3, 2))])
    with pytest.raises(ValueError, match="of one size"):
        warped_distances([np.zeros((2, 3))], [np.zeros((3, 2))])
    with pytest.raises(ValueError, match="no sequence"):
        warped_distances([], [np.zeros((3, 2))])


def test_nearest_segments_by_hand() -> None:
    vectors = np.array([[2.0, 0], [1, 0.1], [0, 3], [-0.1, 1], [-1, 0]])
    said = np.array(["one", "one", "two", "one", "three"])
    distances, everyone = cosine_distances(vectors), np.ones((5, 5), bool)
    np.testing.assert_allclose(distances[0], [0, 1 - 1 / np.sqrt(1.01), 1, 1 + 0.1 / np.sqrt(1.01), 2])
    np.testing.assert_array_equal(nearest_others(distances, everyone)[:4], [1, 0, 3, 2])
    # "two" and "three" are said once: none of the others can be right. Of the three "one", two are.
    assert precision_at_1(distances, said, everyone) == pytest.approx(2 / 3)
    assert chance_at_1(said, everyone) == pytest.approx(2 / 4)
    speakers = np.array([0, 0, 1, 1, 1])
    across = speakers[:, None] != speakers[None]
    assert precision_at_1(distances, said, across) == pytest.approx(1 / 3)  # the fourth finds the second
    assert chance_at_1(said, across) == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    assert np.isnan(precision_at_1(distances, np.arange(5), everyone))
