"""Random orders: permutations, unlike each other, and the same for ever."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import random_order


@given(size=st.integers(0, 200), seed=st.integers(0, 2**64 - 1), stream=st.integers(0, 2**64 - 1))
def test_is_a_permutation(size: int, seed: int, stream: int) -> None:
    assert sorted(random_order(size, seed, stream).tolist()) == list(range(size))


def test_never_changes() -> None:
    assert random_order(10, 1).tolist() == [3, 5, 2, 9, 7, 0, 8, 6, 1, 4]
    assert random_order(10, 1, stream=1).tolist() == [0, 6, 5, 3, 4, 9, 7, 8, 2, 1]


def test_all_orders_are_equally_likely_across_streams_and_seeds() -> None:
    for orders in (
        [random_order(4, 0, stream) for stream in range(6000)],
        [random_order(4, seed) for seed in range(6000)],
    ):
        counts = Counter(tuple(order.tolist()) for order in orders)
        assert len(counts) == math.factorial(4)
        expected = 6000 / 24
        assert sum((count - expected) ** 2 / expected for count in counts.values()) < 72  # 23 freedoms: 1e-6


@pytest.mark.parametrize(("seed", "stream"), [(-1, 0), (0, 2**64)])
def test_numbers_beyond_64_bits_are_refused(seed: int, stream: int) -> None:
    with pytest.raises(ValueError, match=r"must both lie in 0 … 2\*\*64 - 1"):
        random_order(3, seed, stream)


def test_seeds_of_any_integer_type_agree() -> None:
    np.testing.assert_array_equal(random_order(9, int(np.uint32(5))), random_order(9, 5))
