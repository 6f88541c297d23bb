"""Every example once an epoch, for any number of processes, resumed or not; padding that says it is padding."""

import json

import grain
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import ArrayExamples, Batch, Batches, Example, PadToMultiple, evaluation_batches, train_batches


def numbered(count: int, steps: int = 2) -> ArrayExamples:
    """Example i shows i at every step and has the target i."""
    inputs = np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, steps, 1))
    return ArrayExamples(np.ascontiguousarray(inputs), np.arange(count))


def ragged(lengths: list[int]) -> list[Example]:
    """Example i shows i + 1 for lengths[i] steps and has the target i."""
    return [Example(np.full((n, 1), i + 1.0), i) for i, n in enumerate(lengths)]


def seen(batches: Batches, count: int) -> np.ndarray:
    """The numbers of the examples, [count, B]."""
    return np.asarray(batches.take(count).targets)


def assert_same(one: Batch, other: Batch) -> None:
    for left, right in zip(one, other, strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_every_epoch_holds_every_example_once(draw) -> None:
    count = draw.draw(st.integers(1, 23))
    batch_size = draw.draw(st.integers(1, count))
    epochs = 3
    batches = train_batches(numbered(count), batch_size=batch_size, seed=draw.draw(st.integers(0, 2**32)))
    stream = seen(batches, -(-epochs * count // batch_size)).ravel()
    for epoch in range(epochs):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [seen(train_batches(numbered(50), batch_size=50, seed=seed), 2) for seed in (0, 1)]
    flat = {tuple(order.tolist()) for pair in orders for order in pair}
    assert len(flat) == 4
    assert tuple(range(50)) not in flat


def test_a_batch_is_the_examples_it_names() -> None:
    batch = train_batches(numbered(30, steps=4), batch_size=7, seed=5).take(3)
    assert batch.inputs.shape == (3, 4, 7, 1)
    assert batch.mask.shape == (3, 4, 7)
    assert batch.mask.all()
    shown = np.broadcast_to(np.asarray(batch.targets)[:, None, :, None], batch.inputs.shape)
    np.testing.assert_array_equal(batch.inputs, shown)


@settings(deadline=None, max_examples=25)
@given(share=st.integers(1, 4), processes=st.integers(1, 5), spare=st.integers(0, 9), seed=st.integers(0, 99))
def test_processes_divide_the_very_batches_of_one(share, processes, spare, seed) -> None:
    batch_size = share * processes
    source = numbered(batch_size + spare)
    alone = seen(train_batches(source, batch_size=batch_size, seed=seed), 6)
    parts = [
        train_batches(source, batch_size=batch_size, seed=seed, process_index=p, process_count=processes)
        for p in range(processes)
    ]
    for place, part in enumerate(parts):
        np.testing.assert_array_equal(seen(part, 6), alone[:, place * share : (place + 1) * share])


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("kind", ["arrays", "list", "grain"])
def test_a_restored_state_goes_on_with_the_same_batches(kind: str, threads: int) -> None:
    source = {
        "arrays": numbered(11),
        "list": ragged([1 + i % 5 for i in range(11)]),
        "grain": grain.MapDataset.range(11).map(lambda i: Example(np.full((2, 1), i), i)),
    }[kind]

    def fresh():
        return train_batches(source, batch_size=4, seed=1, threads=threads)

    batches = fresh()
    batches.take(4)
    state = batches.get_state()
    assert len(state) < 200
    json.loads(state)
    expected = [batches.take(3), batches.take(1)]
    resumed = fresh()
    resumed.take(1)
    resumed.set_state(state)
    assert_same(resumed.take(3), expected[0])
    assert_same(resumed.take(1), expected[1])
    assert resumed.get_state() == batches.get_state() != state


def test_how_many_are_taken_at_once_and_read_ahead_changes_nothing() -> None:
    source = ragged([1 + i % 7 for i in range(20)])
    whole = train_batches(source, batch_size=6, seed=2).take(6)
    pieces = train_batches(source, batch_size=6, seed=2, threads=3)
    taken = [pieces.take(count) for count in (1, 2, 3)]
    assert_same(whole, Batch(*(np.concatenate(leaves) for leaves in zip(*taken, strict=True))))


@pytest.mark.parametrize(
    ("length", "expected"),
    [(None, 9), (12, 12), (PadToMultiple(1), 9), (PadToMultiple(4), 12), (PadToMultiple(9), 9)],
)
def test_padding_is_as_long_as_asked_for(length, expected: int) -> None:
    lengths = [3, 9, 1, 5]
    batch = train_batches(ragged(lengths), batch_size=4, seed=0, length=length).take(1)
    assert batch.inputs.shape == (1, expected, 4, 1)
    for place, number in enumerate(np.asarray(batch.targets)[0]):
        steps = lengths[number]
        assert batch.mask[0, :, place].tolist() == [True] * steps + [False] * (expected - steps)
        assert batch.inputs[0, :, place, 0].tolist() == [number + 1] * steps + [0] * (expected - steps)


def test_a_multiple_follows_the_batches_at_hand() -> None:
    source = ragged([2, 2, 2, 2, 7])
    batches = train_batches(source, batch_size=1, seed=0, length=PadToMultiple(2))
    singles = [batches.take(1) for _ in range(5)]
    assert sorted(single.inputs.shape[1] for single in singles) == [2, 2, 2, 2, 8]
    together = train_batches(source, batch_size=1, seed=0, length=PadToMultiple(2)).take(5)
    assert together.inputs.shape == (5, 8, 1, 1)
    assert together.mask.sum() == 15


def test_a_collate_of_the_users_own_is_given_examples_and_length() -> None:
    def reverse(examples, length: int) -> Batch:
        inputs = np.stack([example.inputs[::-1] for example in examples], axis=1)
        return Batch(inputs, np.array([length]), np.ones(inputs.shape[:2], bool))

    source = [Example(np.array([1.0, 2.0, 3.0]), 0)]
    batch = train_batches(source, batch_size=1, seed=0, collate=reverse).take(2)
    assert batch.inputs[:, :, 0].tolist() == [[3, 2, 1], [3, 2, 1]]
    assert batch.targets.tolist() == [[3], [3]]


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 20), share=st.integers(1, 5), processes=st.integers(1, 4), arrays=st.booleans())
def test_evaluation_covers_every_example_exactly_once(count, share, processes, arrays) -> None:
    batch_size = share * processes
    source = numbered(count) if arrays else ragged([1 + i % 3 for i in range(count)])
    found, steps = [], set()
    for p in range(processes):
        batches = evaluation_batches(source, batch_size=batch_size, process_index=p, process_count=processes)
        listed = list(batches)
        assert len(listed) == len(batches) == -(-count // batch_size)
        for batch in listed:
            steps.add(batch.inputs.shape)
            real = batch.mask.any(axis=0)
            found += np.asarray(batch.targets)[real].tolist()
            assert not batch.inputs[:, ~real].any()
            assert not batch.targets[~real].any()
        assert_same(listed[0], next(iter(batches)))
    assert sorted(found) == list(range(count))
    assert len(steps) == 1


def test_evaluation_keeps_the_order_of_the_source() -> None:
    batches = evaluation_batches(numbered(7), batch_size=3, threads=2)
    assert [batch.targets.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 0, 0]]
    assert [batch.mask.any(axis=0).tolist() for batch in batches][-1] == [True, False, False]


def test_a_source_is_read_only_where_a_batch_asks_for_it() -> None:
    read = []

    def make(index: int) -> Example:
        read.append(index)
        return Example(np.ones((2, 1)), index)

    source = grain.MapDataset.range(1000).map(make)
    batches = train_batches(source, batch_size=3, seed=0, length=2)
    assert read == []
    assert seen(batches, 2).ravel().tolist() == read


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 6}, "batch_size is 6, but there are only 5 examples"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 3, "process_count": 2}, "multiple of the 2 processes"),
        ({"batch_size": 4, "process_count": 2, "process_index": 2}, "process_index is 2"),
        ({"batch_size": 4, "process_count": 2, "length": PadToMultiple(8)}, "different length"),
        ({"batch_size": 4, "length": 3}, "example 4 of the source has 5 steps, more than length 3"),
        ({"batch_size": 4, "length": 0}, "length is 0"),
        ({"batch_size": 4, "seed": -1}, "seed is -1"),
        ({"batch_size": 4, "threads": -1}, "threads is -1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train_batches(ragged([1, 2, 2, 3, 5]), **{"seed": 0, **options})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "no examples"),
        ([Example(np.ones((0, 1)), 0)], "example 0 of the source has no steps"),
        ([Example(np.ones((2, 1)), 0), {"inputs": 1}], "example 1 of the source is a dict"),
        ([Example(np.array(1.0), 0)], "without an axis for time"),
    ],
)
def test_sources_that_cannot_be_are_refused(source, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        train_batches(source, batch_size=1, seed=0)
    with pytest.raises(ValueError, match=words):
        evaluation_batches(source, batch_size=1)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_long_example_in_files_is_named_when_it_is_read(threads: int) -> None:
    source = grain.MapDataset.range(3).map(lambda i: Example(np.ones((i + 1, 1)), i))
    batches = evaluation_batches(source, batch_size=1, length=2, threads=threads)
    with pytest.raises(ValueError, match="example 2 of the source has 3 steps, more than length 2"):
        list(batches)


@pytest.mark.parametrize("of", [0, -3])
def test_a_multiple_below_one_is_refused(of: int) -> None:
    with pytest.raises(ValueError, match=f"Multiple\\({of}\\)"):
        PadToMultiple(of)


def test_a_state_of_other_data_or_of_something_else_is_refused() -> None:
    batches = train_batches(numbered(5), batch_size=2, seed=0)
    for other in (
        train_batches(numbered(6), batch_size=2, seed=0),
        train_batches(numbered(5), batch_size=3, seed=0),
        train_batches(numbered(5), batch_size=2, seed=1),
    ):
        with pytest.raises(ValueError, match="continue with the same data"):
            batches.set_state(other.get_state())
    for state in (b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(ValueError, match="not that of a pipeline"):
            batches.set_state(state)
    wrong = json.dumps({"grain": {"next_index": -1}, "examples": 5, "batch_size": 2, "seed": 0}).encode()
    with pytest.raises(ValueError, match="not a position"):
        batches.set_state(wrong)
    with pytest.raises(ValueError, match="count is 0"):
        batches.take(0)
