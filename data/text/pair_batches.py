"""Pairs of token sequences as batches: both lengths in the buckets, a mask for each. Axes: L source, T target."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from data.batch import Array, pad_batch
from data.buckets import BucketBatches, SortedBatches, bucket_batches, sorted_batches
from data.examples import mask_of, pad_sequences

Ids = Int32[np.ndarray, "_"]
Bounds = Sequence[tuple[int, int]]  # of buckets: the most tokens of a source, and of a target


class PairExample(NamedTuple):
    """The token ids of a source and of its target, the last of each the end mark; or the vectors of a source."""

    inputs: np.ndarray  # [L] int32, or [L, D] float32
    targets: Ids  # [T] int32


class PairBatch(NamedTuple):
    """B sources and targets, time-major; where a mask is False ids and vectors are 0 and ignored.

    A decoder reads the targets shifted by one step, the id of the end mark first. An example without any valid step
    is padding.
    """

    inputs: Array  # [L, B] int32, or [L, B, D] float32
    mask: Array  # [L, B] bool
    targets: Array  # [T, B] int32
    target_mask: Array  # [T, B] bool

    def batch_axes(self) -> Any:
        """Returns, as a batch, the axis of each leaf that is B."""
        axes: Any = dict.fromkeys(self._fields, 1)
        return PairBatch(**axes)

    def pad_to(self, size: int) -> "PairBatch":
        """Pads the batch to `size` with masked examples."""
        return pad_batch(self, size)


def pair_lengths(example: PairExample) -> tuple[int, int]:
    """Returns the numbers of tokens (L, T) of a source and its target."""
    return len(example.inputs), len(example.targets)


def collate_pairs(examples: Sequence[PairExample], bound: tuple[int, int]) -> PairBatch:
    """Collates examples into one batch of L, T = `bound`.

    Raises ValueError, naming the example by its index, if one is longer, and without any example.
    """
    if not len(examples):
        raise ValueError("there are no pairs to collate: give at least one.")
    for index, example in enumerate(examples):
        for side, length, most in zip(PairExample._fields, pair_lengths(example), bound, strict=True):
            if length > most:
                raise ValueError(
                    f"example {index} of the batch has {length} {side}, more than {most}: raise the bound or leave "
                    "the pair out."
                )
    inputs, targets = zip(*examples, strict=True)
    longest_source, longest_target = bound
    return PairBatch(
        pad_sequences(inputs, longest_source, "inputs"),
        mask_of(inputs, longest_source),
        pad_sequences(targets, longest_target, "targets"),
        mask_of(targets, longest_target),
    )


def pair_bounds(
    *splits: Sequence[PairExample], first: int = 8, growth: float = 1.25
) -> list[tuple[int, int]]:
    """Returns bounds of buckets into which all pairs fit: `first` for both sides, then each `growth` times the one
    before, rounded up; no side's bound exceeds its longest sequence.

    Each bucket is compiled by itself. In nine buckets, 16 % of Multi30k's batches are padding (8,000 pieces).

    Raises ValueError if there is no pair, or for a `first` below 1 or a growth of 1 or less.
    """
    if first < 1 or growth <= 1:
        raise ValueError(f"first is {first} and growth {growth}: give 1 or more, and more than 1.")
    lengths = np.array([pair_lengths(example) for split in splits for example in split])
    if not len(lengths):
        raise ValueError("there are no pairs to find bounds for: give at least one.")
    longest = lengths.max(axis=0)
    sizes = [first]
    while sizes[-1] < longest.max():
        sizes.append(math.ceil(sizes[-1] * growth))
    bounds = [(int(min(size, longest[0])), int(min(size, longest[1]))) for size in sizes]
    return list(dict.fromkeys(bounds))


def pair_batches(
    examples: Sequence[PairExample],
    *,
    batch_size: int | Sequence[int],
    seed: int,
    bounds: Bounds,
    process_index: int = 0,
    process_count: int = 1,
) -> BucketBatches:
    """Returns endless shuffled `PairBatch`es whose sources and targets fit one bucket: see `bucket_batches`."""
    return bucket_batches(
        examples,
        batch_size=batch_size,
        seed=seed,
        bounds=bounds,
        lengths=pair_lengths,
        collate=collate_pairs,
        process_index=process_index,
        process_count=process_count,
    )


def held_out_pairs(examples: Sequence[PairExample], *, batch_size: int, bounds: Bounds) -> SortedBatches:
    """Returns `PairBatch`es of every pair once, of similar length, and their order: see `sorted_batches`."""
    return sorted_batches(
        examples, batch_size=batch_size, bounds=bounds, lengths=pair_lengths, collate=collate_pairs
    )
