"""Collating: every value at its place, zeros and a False mask everywhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import ArrayExamples, Example, collate, empty_example


def ragged(lengths: list[int], per_step: bool) -> list[Example]:
    generator = np.random.default_rng(sum(lengths))
    examples = []
    for place, length in enumerate(lengths):
        target = generator.integers(1, 9, length) if per_step else np.int64(place + 1)
        examples.append(Example(generator.random((length, 3)) + 1, target))
    return examples


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=6),
    extra=st.integers(0, 3),
    per_step=st.booleans(),
)
def test_each_example_is_followed_by_zeros_that_the_mask_leaves_out(lengths, extra, per_step) -> None:
    length = max(lengths) + extra
    examples = ragged(lengths, per_step)
    batch = collate(examples, length)
    assert batch.inputs.shape == (length, len(lengths), 3)
    assert batch.inputs.dtype == np.float32
    assert batch.targets.dtype == np.int32
    for b, example in enumerate(examples):
        for t in range(length):
            valid = t < lengths[b]
            assert batch.mask[t, b] == valid
            expected = example.inputs[t].astype(np.float32) if valid else np.zeros(3)
            np.testing.assert_array_equal(batch.inputs[t, b], expected)
            if per_step:
                assert batch.targets[t, b] == (np.asarray(example.target)[t] if valid else 0)
        if not per_step:
            assert batch.targets[b] == example.target


def test_token_ids_and_targets_with_features_keep_their_axes() -> None:
    examples = [Example(np.arange(n), np.ones((n, 4), bool)) for n in (2, 3)]
    batch = collate(examples, 3)
    assert batch.inputs.dtype == np.int32
    np.testing.assert_array_equal(batch.inputs, [[0, 0], [1, 1], [0, 2]])
    assert batch.targets.shape == (3, 2, 4)
    assert batch.targets.dtype == np.float32
    assert batch.targets.sum() == 20


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("length", [5, 8])
def test_arrays_collate_as_their_examples_do(per_step: bool, length: int) -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 9, (6, 5) if per_step else 6)
    source = ArrayExamples(generator.random((6, 5, 2)), targets)
    chosen = np.array([4, 0, 4])
    fast = collate(source[chosen], length)
    slow = collate([source[int(i)] for i in chosen], length)
    for left, right in zip(fast, slow, strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("target", [np.int32(3), np.ones(4), np.ones((4, 2))])
def test_nothing_collates_to_nothing(target) -> None:
    example = Example(np.ones((4, 2)), target)
    batch = collate([example, empty_example(example)], 4)
    assert batch.mask.any(axis=0).tolist() == [True, False]
    assert not batch.inputs[:, 1].any()
    assert not (batch.targets[1] if batch.targets.ndim == 1 else batch.targets[:, 1]).any()


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ([], "no examples"),
        (
            [Example(np.ones((3, 2)), 0), Example(np.ones((6, 2)), 0)],
            "example 1 of the batch has 6 steps, more",
        ),
        ([Example(np.ones((3, 2)), 0), Example(np.ones((3, 1)), 0)], "example 1 .* axes but time"),
        ([Example(np.ones((3, 2)), 0), Example(np.ones((3, 2)), np.ones(3))], "example 1 .* axes but time"),
        ([Example(np.ones((3, 2)), np.ones(2))], "target of 2 steps for inputs of 3"),
        ([Example(np.array(1.0), 0)], "without an axis"),
        ([Example(np.array(["a", "b"]), 0)], "inputs are of type <U1"),
        ([Example(np.array([1, 2**31]), 0)], "inputs contain an integer beyond 32 bits"),
        ([Example(np.ones(2), np.int64(-(2**31) - 1))], "targets contain an integer beyond 32 bits"),
    ],
)
def test_examples_that_make_no_batch_are_refused(examples: list[Example], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        collate(examples, 4)


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [((5,), (5,)), ((5, 3, 1), (4,)), ((5, 3, 1), (5, 4)), ((5, 3, 1), ())],
)
def test_arrays_whose_sizes_disagree_are_refused(inputs, targets) -> None:
    with pytest.raises(ValueError, match="shape"):
        ArrayExamples(np.zeros(inputs), np.zeros(targets))
