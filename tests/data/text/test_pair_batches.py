"""Batches of pairs: what they hold, that both lengths are bounded, that the order of held-out ones is known."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import (
    Batches,
    PairExample,
    collate_pairs,
    held_out_pairs,
    pair_batches,
    pair_bounds,
    sorted_batches,
)
from data.text.pair_batches import pair_lengths
from train.sharding import HasBatchAxes, Paddable, batch_size


def example(number: int, source: int, target: int) -> PairExample:
    """A pair of the given lengths, all of whose tokens are its number."""
    return PairExample(np.full(source, number, np.int32), np.full(target, number, np.int32))


def corpus(count: int = 40) -> list[PairExample]:
    """Pairs numbered from 1 whose two lengths are independent."""
    generator = np.random.default_rng(4)
    lengths = generator.integers(1, (13, 30), (count, 2)).tolist()
    return [example(number + 1, *pair) for number, pair in enumerate(lengths)]


def test_a_batch_holds_its_pairs_and_masks_the_rest() -> None:
    batch = collate_pairs([example(5, 2, 3), example(6, 1, 1)], (4, 3))
    assert batch.inputs.tolist() == [[5, 6], [5, 0], [0, 0], [0, 0]]
    assert batch.targets.tolist() == [[5, 6], [5, 0], [5, 0]]
    assert batch.mask.tolist() == [[True, True], [True, False], [False, False], [False, False]]
    assert batch.target_mask.tolist() == [[True, True], [True, False], [True, False]]
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
    assert isinstance(batch, HasBatchAxes)
    assert isinstance(batch, Paddable)
    assert batch_size(batch) == 2
    padded = batch.pad_to(3)
    assert jax.tree.map(lambda leaf: leaf[:, :2].tolist(), padded) == jax.tree.map(np.ndarray.tolist, batch)
    assert not any(leaf[:, 2].any() for leaf in padded)


def test_both_lengths_are_bounded_and_each_pair_comes_once_an_epoch() -> None:
    examples = corpus()
    bounds = [(4, 8), (8, 8), (8, 16), (12, 30)]
    batches = pair_batches(examples, batch_size=4, seed=3, bounds=bounds)
    assert isinstance(batches, Batches)

    def bucket(pair: PairExample) -> int:
        return next(i for i, bound in enumerate(bounds) if max(np.subtract(pair_lengths(pair), bound)) <= 0)

    in_buckets = np.bincount([bucket(pair) for pair in examples], minlength=4)
    assert in_buckets.all()
    assert batches.batches_per_epoch == sum(-(-in_buckets // 4))
    orders = []
    for _ in range(2):
        met = []
        for _ in range(batches.batches_per_epoch):
            batch = jax.tree.map(lambda leaf: leaf[0], batches.take(1))
            shape = (len(batch.inputs), len(batch.targets))
            assert np.array_equal(batch.mask.any(axis=0), batch.target_mask.any(axis=0))
            for column in np.flatnonzero(batch.mask.any(axis=0)):
                number = int(batch.inputs[0, column])
                pair = examples[number - 1]
                assert bounds[bucket(pair)] == shape
                assert batch.inputs[batch.mask[:, column], column].tolist() == pair.inputs.tolist()
                assert batch.targets[batch.target_mask[:, column], column].tolist() == pair.targets.tolist()
                met.append(number)
        assert sorted(met) == list(range(1, 41))
        orders.append(met)
    assert orders[0] != orders[1]


def test_batches_taken_at_once_resumed_and_shared() -> None:
    make = {"batch_size": 4, "seed": 3, "bounds": [(4, 8), (8, 16), (12, 30)]}
    whole = pair_batches(corpus(), **make)
    several, state = whole.take(9), whole.get_state()
    assert several.inputs.shape == (9, 12, 4)
    assert several.targets.shape == (9, 30, 4)
    after = whole.take(2)
    resumed = pair_batches(corpus(), **make)
    resumed.set_state(state)
    jax.tree.map(np.testing.assert_array_equal, resumed.take(2), after)
    shares = [pair_batches(corpus(), **make, process_index=p, process_count=2).take(9) for p in range(2)]
    together = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=2), *shares)
    jax.tree.map(np.testing.assert_array_equal, together, several)
    with pytest.raises(ValueError, match="the state is of batches with"):
        pair_batches(corpus(), batch_size=4, seed=3, bounds=[(12, 30)]).set_state(state)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=30), st.integers(1, 9)
)
def test_held_out_pairs_come_once_in_an_order_that_is_known(
    lengths: list[tuple[int, int]], rows: int
) -> None:
    examples = [example(number, *pair) for number, pair in enumerate(lengths)]
    bounds = pair_bounds(examples)
    assert bounds[-1] == (max(s for s, _ in lengths), max(t for _, t in lengths))
    held_out = held_out_pairs(examples, batch_size=rows, bounds=bounds)
    assert len(held_out.batches) == -(-len(examples) // rows)
    assert {batch_size(batch) for batch in held_out.batches} == {rows}
    met: list[int] = []
    for batch in held_out.batches:
        assert (len(batch.inputs), len(batch.targets)) in bounds
        met += batch.inputs[0, batch.mask.any(axis=0)].tolist()
    assert met == held_out.order.tolist()
    assert held_out.restore_order(met) == list(range(len(examples)))


def test_bounds_grow_until_every_pair_fits() -> None:
    pairs = [example(0, 3, 30), example(0, 20, 4)]
    assert pair_bounds(pairs) == [(8, 8), (10, 10), (13, 13), (17, 17), (20, 22), (20, 28), (20, 30)]
    assert pair_bounds(pairs, [example(0, 50, 1)], first=10, growth=2.0) == [
        (10, 10),
        (20, 20),
        (40, 30),
        (50, 30),
    ]


def test_mistakes() -> None:
    examples = corpus()
    for bounds, said in (
        ([], "give at least one"),
        ([(4, 8), (4, 8)], "in increasing order"),
        ([(4, 8), (3, 30)], "in increasing order"),
        ([(0, 8), (12, 30)], "in increasing order"),
        ([(12, 28)], r"has \(\d+, 29\) steps, more than the last bound \(12, 28\)"),
    ):
        with pytest.raises(ValueError, match=said):
            pair_batches(examples, batch_size=4, seed=0, bounds=bounds)
        with pytest.raises(ValueError, match=said):
            held_out_pairs(examples, batch_size=4, bounds=bounds)
    with pytest.raises(ValueError, match="example 1 of the source has no steps"):
        pair_batches([example(1, 1, 1), example(2, 1, 0)], batch_size=1, seed=0, bounds=[(1, 1)])
    with pytest.raises(ValueError, match="example 1 of the batch has 3 targets, more than 2"):
        collate_pairs([example(1, 1, 1), example(2, 1, 3)], (2, 2))
    with pytest.raises(ValueError, match="no pairs to collate"):
        collate_pairs([], (2, 2))
    with pytest.raises(ValueError, match="no pairs to find bounds for"):
        pair_bounds([])
    for first, growth in ((0, 2.0), (8, 1.0)):
        with pytest.raises(ValueError, match="give 1 or more, and more than 1"):
            pair_bounds(examples, first=first, growth=growth)
    with pytest.raises(ValueError, match="batch_size is 0"):
        held_out_pairs(examples, batch_size=0, bounds=[(12, 30)])
    with pytest.raises(ValueError, match="no examples"):
        sorted_batches([], batch_size=1, bounds=[1], lengths=pair_lengths)
    with pytest.raises(ValueError, match="3 results for 40 examples"):
        held_out_pairs(examples, batch_size=7, bounds=[(12, 30)]).restore_order([1, 2, 3])
