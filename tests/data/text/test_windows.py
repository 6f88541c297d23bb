"""Random windows of a text: slices of it, each start equally likely, a function of seed and number alone."""

import json

import numpy as np
import pytest

from data import WindowBatches
from data.batch import Batches
from data.position import random_integers

TOKENS = np.arange(100, 123)  # 22 targets


def test_windows_are_slices_that_start_anew() -> None:
    batches = WindowBatches(TOKENS, batch_size=3, length=5, seed=0)
    assert isinstance(batches, Batches)
    assert batches.batches_per_epoch == 2  # five windows cover 22 targets
    batch = batches.take(4)
    assert batch.inputs.shape == (4, 5, 3)
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
    np.testing.assert_array_equal(
        batch.inputs - batch.inputs[:, :1], np.tile(np.arange(5)[:, None], (4, 1, 3))
    )
    np.testing.assert_array_equal(batch.targets, batch.inputs + 1)
    assert batch.reset.all()
    assert batch.mask.all()


def test_every_window_is_equally_likely() -> None:
    """From the first token to the last, by a χ² test; the token before the text is the first input."""
    batches = WindowBatches(TOKENS, batch_size=50, length=4, seed=1, before=99)
    starts = batches.take(80).inputs[:, 0].ravel() - 99
    counts = np.bincount(starts, minlength=20)
    assert len(counts) == 20  # 23 targets
    assert np.sum((counts - 200) ** 2 / 200) < 63  # 19 freedoms: 1e-6
    whole = WindowBatches(TOKENS, batch_size=2, length=23, seed=1, before=99).take(1)
    np.testing.assert_array_equal(whole.targets[0, :, 1], TOKENS)


def test_a_batch_is_a_function_of_seed_and_number() -> None:
    def batches(**changed: int) -> WindowBatches:
        return WindowBatches(TOKENS, **{"batch_size": 4, "length": 3, "seed": 7} | changed)

    whole = batches()
    whole.take(2)
    state = whole.get_state()
    json.loads(state)
    following = whole.take(3)
    other = batches()
    other.set_state(state)
    np.testing.assert_array_equal(other.take(3).inputs, following.inputs)
    for p in range(2):
        share = batches(process_index=p, process_count=2)
        share.set_state(state)
        np.testing.assert_array_equal(share.take(3).inputs, following.inputs[:, :, 2 * p : 2 * p + 2])
    assert not np.array_equal(batches(seed=8).take(5).inputs, batches().take(5).inputs)
    for changed in ({"seed": 8}, {"length": 4}):
        with pytest.raises(ValueError, match="the state is of batches with"):
            batches(**changed).set_state(state)


def test_draws_never_change() -> None:
    assert random_integers(1000, 5, 1).tolist() == [887, 255, 738, 666, 844]
    assert random_integers(1000, 3, 1, stream=1).tolist() == [485, 686, 9]


def test_mistakes() -> None:
    with pytest.raises(
        ValueError, match="length is 23, but the text has 22 tokens to predict: make the windows"
    ):
        WindowBatches(TOKENS, batch_size=2, length=23, seed=0)
    with pytest.raises(ValueError, match="length is 0"):
        WindowBatches(TOKENS, batch_size=2, length=0, seed=0)
    with pytest.raises(ValueError, match=r"seed -1 .* must both lie in"):
        WindowBatches(TOKENS, batch_size=2, length=3, seed=-1)
    with pytest.raises(ValueError, match=r"batch_size is 3: .* a multiple of the 2 processes"):
        WindowBatches(TOKENS, batch_size=3, length=3, seed=0, process_count=2)
