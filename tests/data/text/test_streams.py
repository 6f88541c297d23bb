"""Streams, windows and buckets of tokens, against slices written down by hand or taken by plain loops."""

import json

import numpy as np
import pytest

from data import StreamBatches, bucket_batches, pairs, sentences, train_batches, windows
from data.batch import Batches
from data.examples import Example

TOKENS = np.arange(100, 123)  # 22 targets


def test_rows_go_on_where_they_stopped() -> None:
    batches = StreamBatches(TOKENS, batch_size=3, length=3)
    assert (batches.batches_per_epoch, batches.targets_per_epoch) == (3, 22)
    epoch = batches.take(3)
    assert epoch.inputs.shape == (3, 3, 3)
    rows = [epoch.targets[:, :, b].reshape(-1)[epoch.mask[:, :, b].reshape(-1)] for b in range(3)]
    assert [row.tolist() for row in rows] == [[*range(101, 109)], [*range(109, 117)], [*range(117, 123)]]
    np.testing.assert_array_equal(epoch.inputs[epoch.mask] + 1, epoch.targets[epoch.mask])
    assert not epoch.inputs[~epoch.mask].any()
    assert epoch.reset.tolist() == [[True] * 3, [False] * 3, [False] * 3]
    again = batches.take(3)
    for one, other in zip(epoch, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("size", "batch_size", "length"), [(2, 1, 5), (11, 10, 1), (50, 7, 4), (64, 4, 16), (23, 9, 2)]
)
def test_each_token_is_a_target_once_an_epoch(size: int, batch_size: int, length: int) -> None:
    tokens = np.random.default_rng(0).integers(0, 9, size)
    batches = StreamBatches(tokens, batch_size=batch_size, length=length, before=8)
    epoch = batches.take(batches.batches_per_epoch)
    assert epoch.mask.sum() == size == batches.targets_per_epoch
    in_order = np.concatenate([epoch.targets[:, :, b][epoch.mask[:, :, b]] for b in range(batch_size)])
    np.testing.assert_array_equal(in_order, tokens)
    seen = np.concatenate([epoch.inputs[:, :, b][epoch.mask[:, :, b]] for b in range(batch_size)])
    np.testing.assert_array_equal(seen, [8, *tokens[:-1]])


def test_processes_share_the_rows_of_one_batch() -> None:
    whole = StreamBatches(TOKENS, batch_size=4, length=2).take(5)
    for p in range(2):
        share = StreamBatches(TOKENS, batch_size=4, length=2, process_index=p, process_count=2).take(5)
        for one, other, axis in zip(whole, share, whole.batch_axes(), strict=True):
            np.testing.assert_array_equal(np.take(one, [2 * p, 2 * p + 1], axis + 1), other)


def test_position_is_saved() -> None:
    batches = StreamBatches(TOKENS, batch_size=2, length=3)
    assert isinstance(batches, Batches)
    batches.take(2)
    state = batches.get_state()
    json.loads(state)
    following = batches.take(4)
    other = StreamBatches(TOKENS, batch_size=2, length=3, threads=2)
    other.set_state(state)
    for one, two in zip(following, other.take(4), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(
        ValueError, match=r"the state is of batches with .*'length': 3.* these have .*'length': 4"
    ):
        StreamBatches(TOKENS, batch_size=2, length=4).set_state(state)


def test_filled_up_rows_are_none() -> None:
    batch = StreamBatches(TOKENS, batch_size=2, length=3).take(1)
    one = type(batch)(*(leaf[0] for leaf in batch)).pad_to(5)
    assert one.inputs.shape == (3, 5)
    assert not one.mask[:, 2:].any()
    assert one.reset.tolist() == [True, True, False, False, False]


def test_windows_are_slices() -> None:
    source = windows(TOKENS, 5)
    assert len(source) == 4  # the last two targets fill none
    for i, start in enumerate((0, 5, 10, 15)):
        np.testing.assert_array_equal(source[i].inputs, TOKENS[start : start + 5])
        np.testing.assert_array_equal(source[i].target, TOKENS[start + 1 : start + 6])
    assert len(windows(TOKENS, 5, stride=1)) == 18
    batch = train_batches(source, batch_size=4, seed=0).take(1)
    assert sorted(batch.inputs[0, 0].tolist()) == [100, 105, 110, 115]
    np.testing.assert_array_equal(batch.targets, batch.inputs + 1)


END = 0
LINES = [[5, 6, 0], [0], [7, 0], [1, 2, 3, 4, 0], [9, 0], [8]]


def test_sentences_begin_behind_an_end() -> None:
    examples = sentences(np.concatenate([np.array(line) for line in LINES]), END)
    assert [np.asarray(example.target).tolist() for example in examples] == LINES
    assert [example.inputs.tolist() for example in examples] == [[0, *line[:-1]] for line in LINES]


def source() -> list[Example]:
    generator = np.random.default_rng(1)
    return [
        Example(np.full(n, i + 1), np.full(n, i + 1)) for i, n in enumerate(generator.integers(1, 13, 40))
    ]


def test_buckets_hold_what_fits_them_and_each_example_once_an_epoch() -> None:
    examples, bounds = source(), (3, 6, 12)
    batches = bucket_batches(examples, batch_size=4, seed=3, bounds=bounds)
    in_bucket = [
        sum(low < len(e.inputs) <= high for e in examples) for low, high in ((0, 3), (3, 6), (6, 12))
    ]
    per_epoch = sum(-(-n // 4) for n in in_bucket)
    orders = []
    for _ in range(2):
        met, lengths = [], []
        for _ in range(per_epoch):
            batch = batches.take(1)
            steps = batch.inputs.shape[1]
            lengths.append(steps)
            assert steps in bounds
            low = (0, *bounds)[bounds.index(steps)]
            for b in np.flatnonzero(batch.mask[0].any(axis=0)):
                number = int(batch.inputs[0, 0, b])
                own = len(examples[number - 1].inputs)
                assert low < own <= steps
                assert batch.mask[0, :, b].sum() == own
                met.append(number)
        assert sorted(met) == list(range(1, 41))
        assert lengths != sorted(lengths)  # buckets come mixed
        orders.append(met)
    assert orders[0] != orders[1]


def test_buckets_shared_and_saved() -> None:
    """Processes together make the batch of one, padded alike even where a share is empty; positions are saved."""
    make = {"batch_size": 4, "seed": 3, "bounds": (3, 12)}
    whole = bucket_batches(source(), **make)
    shares = [bucket_batches(source(), **make, process_index=p, process_count=4) for p in range(4)]
    state, one = b"", whole.take(1)
    whole.set_state(shares[0].get_state())
    for _ in range(30):
        state = whole.get_state()
        one, parts = whole.take(1), [share.take(1) for share in shares]
        np.testing.assert_array_equal(np.concatenate([part.inputs for part in parts], axis=2), one.inputs)
    after = bucket_batches(source(), **make)
    after.set_state(state)
    np.testing.assert_array_equal(after.take(1).inputs, one.inputs)
    with pytest.raises(ValueError, match="the state is of batches with"):
        bucket_batches(source(), batch_size=4, seed=3, bounds=(12,)).set_state(state)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="batch_size is 23, but the text has 22 tokens to predict: make"):
        StreamBatches(TOKENS, batch_size=23, length=3)
    with pytest.raises(ValueError, match="length is 0"):
        StreamBatches(TOKENS, batch_size=2, length=0)
    with pytest.raises(ValueError, match="a text of 1 tokens leaves nothing to predict"):
        pairs(TOKENS[:1])
    with pytest.raises(ValueError, match="count is 0"):
        StreamBatches(TOKENS, batch_size=2, length=1).take(0)
    with pytest.raises(ValueError, match=r"a window of 23 tokens .* a text of 23"):
        windows(TOKENS, 23)
    with pytest.raises(ValueError, match="stride is 0"):
        windows(TOKENS, 2, stride=0)
    for bounds, said in (
        ((), "give at least one"),
        ((3, 3), "increasing"),
        ((0, 12), "increasing"),
        ((11,), "has 12 steps"),
    ):
        with pytest.raises(ValueError, match=said):
            bucket_batches(source(), batch_size=4, seed=0, bounds=bounds)
    with pytest.raises(ValueError, match="batch_size is 41, but there are only 40 examples"):
        bucket_batches(source(), batch_size=41, seed=0, bounds=(12,))
    with pytest.raises(ValueError, match="no examples"):
        bucket_batches([], batch_size=1, seed=0, bounds=(12,))


def test_a_length_beyond_a_row_is_a_rows() -> None:
    tokens = np.arange(11, dtype=np.int32)
    batch = StreamBatches(tokens, batch_size=2, length=10**9).take(1)
    assert batch.inputs.shape == (1, 5, 2)
    assert batch.mask.all()
