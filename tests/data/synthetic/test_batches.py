"""Endless batches of a task: one dispatch or many, resumed or not, they are the same."""

import functools

import jax
import numpy as np
import pytest

from data import Batch, Batches, TaskBatches, adding, split_key, temporal_order

KEY = jax.random.key(3, impl="threefry2x32")
SPLITS = ("train", "validation", "test")
TASK = functools.partial(adding, length=12)


def assert_same(one: Batch, other: Batch) -> None:
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.parametrize("task", [TASK, functools.partial(temporal_order, length=9)])
def test_batch_i_is_the_task_of_the_key_folded_with_i(task) -> None:
    taken = TaskBatches(task, KEY, 4).take(3)
    for index in range(3):
        alone = jax.jit(task, static_argnums=1)(jax.random.fold_in(KEY, index), 4)
        assert_same(jax.tree.map(lambda leaf, i=index: leaf[i], taken), alone)


def test_how_many_are_taken_at_once_changes_nothing() -> None:
    whole = TaskBatches(TASK, KEY, 4).take(3)
    batches: Batches = TaskBatches(TASK, KEY, 4)
    pieces = [batches.take(count) for count in (1, 2)]
    assert_same(whole, jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces))


def test_processes_share_the_examples_of_one_batch() -> None:
    whole = TaskBatches(TASK, KEY, 6).take(2)
    for p in range(3):
        share = TaskBatches(TASK, KEY, 6, process_index=p, process_count=3).take(2)
        for one, other, axis in zip(whole, share, (2, 1, 2), strict=True):
            np.testing.assert_array_equal(np.take(one, [2 * p, 2 * p + 1], axis), other)
    with pytest.raises(ValueError, match="a multiple of the 4 processes"):
        TaskBatches(TASK, KEY, 6, process_count=4)


def test_a_restored_state_goes_on_with_the_same_batches() -> None:
    batches = TaskBatches(TASK, KEY, 4)
    batches.take(2)
    state = batches.get_state()
    expected = batches.take(3)
    resumed = TaskBatches(TASK, KEY, 4)
    resumed.set_state(state)
    assert_same(expected, resumed.take(3))
    assert resumed.get_state() == batches.get_state() != state


def test_one_task_is_compiled_once_for_a_count() -> None:
    traces = []

    def counted(key: jax.Array, batch_size: int) -> Batch:
        traces.append(batch_size)
        return TASK(key, batch_size)

    for _ in range(2):
        batches = TaskBatches(counted, KEY, 4)
        for _ in range(3):
            batches.take(2)
    assert traces == [4]


def test_splits_share_no_batch() -> None:
    sequences = set()
    for split in SPLITS:
        batches = TaskBatches(TASK, split_key(KEY, split), 4)
        sequences |= {inputs.tobytes() for _ in range(10) for inputs in np.asarray(batches.take(3).inputs)}
    assert len(sequences) == 90


def test_split_keys_are_none_that_splitting_the_key_gives() -> None:
    elsewhere = {row.tobytes() for row in np.asarray(jax.random.key_data(jax.random.split(KEY, 100)))}
    ours = {np.asarray(jax.random.key_data(split_key(KEY, split))).tobytes() for split in SPLITS}
    assert len(ours) == 3
    assert not ours & elsewhere


@pytest.mark.parametrize("state", [b"", b"[]", b"{}", b'{"index": -1}', b'{"index": "1"}', b"\xff"])
def test_a_state_of_something_else_is_refused(state: bytes) -> None:
    with pytest.raises(ValueError, match="not that of a task's batches"):
        TaskBatches(TASK, KEY, 4).set_state(state)


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="count is 0"):
        TaskBatches(TASK, KEY, 4).take(0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        TaskBatches(TASK, KEY, 0)
    with pytest.raises(ValueError, match="key is of rbg"):
        TaskBatches(TASK, jax.random.key(0, impl="rbg"), 4)
    with pytest.raises(ValueError, match="split is 'valid'"):
        split_key(KEY, "valid")


def test_chunks_of_all_sizes_share_few_programs() -> None:
    """Chunks between strides without a common factor have every size: a program for each power of two."""
    traced: list[int] = []

    def counted(key: jax.Array, batch_size: int) -> Batch:
        traced.append(batch_size)
        return adding(key, batch_size, length=12)

    batches = TaskBatches(counted, KEY, 4)
    sizes = [len(batches.take(count).mask) for count in range(1, 11)]
    assert sizes == list(range(1, 11))
    assert len(traced) == 5  # 1, 2, 4, 8, 16
