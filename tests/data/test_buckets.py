"""Buckets whose batches have sizes of their own: as many tokens a batch, not as many examples."""

from typing import Any

import numpy as np
import pytest

from data import Example, bucket_batches, length_bounds

LENGTHS = [1, 2, 3, 3, 4, 5, 7, 8, 8, 1, 2, 6]
SOURCE = [Example(np.full(n, i + 1, np.int32), np.int32(i)) for i, n in enumerate(LENGTHS)]
OPTIONS: Any = {"seed": 3, "bounds": [2, 4, 8], "batch_size": [4, 2, 2]}


def test_each_bucket_has_its_batch_size() -> None:
    """Every example comes once an epoch, in a batch of its bucket's size and length, on one process as on two."""
    whole = bucket_batches(SOURCE, **OPTIONS)
    halves = [bucket_batches(SOURCE, **OPTIONS, process_index=index, process_count=2) for index in range(2)]
    assert whole.batches_per_epoch == 1 + 2 + 3
    seen = []
    for _ in range(whole.batches_per_epoch):
        batch = whole.take(1)
        length, rows = batch.inputs.shape[1:]
        assert (length, rows) in ((2, 4), (4, 2), (8, 2))
        parts = [half.take(1) for half in halves]
        np.testing.assert_array_equal(np.concatenate([part.inputs for part in parts], axis=2), batch.inputs)
        seen += batch.targets[0][batch.mask[0].any(axis=0)].tolist()
    assert sorted(seen) == list(range(len(SOURCE)))


def test_refuses() -> None:
    with pytest.raises(ValueError, match="there are 2 batch sizes for 3 bounds: give one for each"):
        bucket_batches(SOURCE, **OPTIONS | {"batch_size": [4, 2]})
    with pytest.raises(
        ValueError, match="batch_size is 3: it is that of the whole batch and must be a multiple"
    ):
        bucket_batches(SOURCE, **OPTIONS | {"batch_size": [4, 3, 2]}, process_index=0, process_count=2)


def test_bounds_of_lengths() -> None:
    assert length_bounds(159) == [10, 20, 40, 80, 159]
    assert length_bounds(159, least=20, growth=3.0) == [18, 53, 159]
    assert length_bounds(3) == [3]
    assert length_bounds(3, least=1, growth=1.2) == [3]
    for wrong in ({"longest": 0}, {"longest": 3, "least": 0}, {"longest": 3, "growth": 1.0}):
        with pytest.raises(ValueError, match="give 1 or more, and a growth above 1"):
            length_bounds(**wrong)
