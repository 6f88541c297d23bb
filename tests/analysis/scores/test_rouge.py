"""ROUGE-L against every subsequence, and by hand."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import corpus_score
from analysis.scores.rouge import RougeL, longest_common

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def is_within(part: tuple[str, ...], whole: list[str]) -> bool:
    """Tells whether words stand in others in this order: each is looked for after the one before it."""
    rest = iter(whole)
    return all(word in rest for word in part)


@given(WORDS, WORDS)
def test_longest_common_subsequence_by_enumeration(one: list[str], other: list[str]) -> None:
    best = max(
        size
        for size in range(len(one) + 1)
        if any(is_within(part, other) for part in combinations(one, size))
    )
    assert longest_common(one, other) == best


def test_rouge_by_hand() -> None:
    """police … the gunman: 3 of 4 words and 3 of 4; a text without words counts as 0."""
    score = RougeL()
    np.testing.assert_allclose(
        score.of("Police kill the gunman", "police killed the gunman!"), [0.75, 0.75, 0.75, 1]
    )
    np.testing.assert_allclose(
        score.of("the gunman police", "police killed the gunman")[:3], [4 / 7, 2 / 3, 1 / 2]
    )
    assert corpus_score(score, ["a b", "…"], ["a b", "c"]) == 0.5
    with pytest.raises(ValueError, match="there is no text to score"):
        score.value(np.zeros(4))
