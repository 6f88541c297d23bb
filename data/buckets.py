"""Batches of examples of similar length, so that little of a batch is padding."""

import functools
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Int

from data.examples import Example, collate, empty_example
from data.pipeline import read_options, shard_indices
from data.position import ResumableIterator, random_order

T = TypeVar("T")
Bound = int | tuple[int, ...]  # of a bucket: the most steps of an example, or of each of its sequences


def steps_of(example: Example) -> int:
    """Returns the number of steps of an example."""
    return len(example.inputs)


def bucket_batches(
    source: Sequence[Any],
    *,
    batch_size: int | Sequence[int],
    seed: int,
    bounds: Sequence[Bound],
    lengths: Callable[[Any], Bound] = steps_of,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 0,
    collate: Callable[[Sequence[Any], Any], Any] = collate,
) -> "BucketBatches":
    """Returns endless shuffled batches, each from one bucket: examples of at most `bounds[i]` steps that don't fit
    `bounds[i−1]`.

    `lengths` gives the steps of an example; a tuple, with tuples for bounds, if it has several sequences (a pair),
    each of which must then fit its own bound. `collate(examples, bound)` makes a batch. `batch_size` may be one for
    each bucket, of more examples where they are shorter; such batches are taken one at a time.

    Every epoch visits every example once, in a new order: the examples of each bucket are shuffled and split into
    batches, then the batches of all buckets are shuffled. A bucket's last batch is padded with masked examples.
    Batches are padded in time to the bound of their bucket, so that at most `len(bounds)` lengths are compiled;
    several batches taken at once are padded to the longest among them.

    With several processes each makes its shard of the same batch, hence of the same bucket and T.

    Raises ValueError for bounds that don't increase, an example longer than the last bound, and as `train_batches`
    does for batch sizes, seeds and an empty source.
    """
    sizes = [batch_size] * len(bounds) if isinstance(batch_size, int) else list(batch_size)
    if len(sizes) != len(bounds):
        raise ValueError(f"there are {len(sizes)} batch sizes for {len(bounds)} bounds: give one for each.")
    shards = [shard_indices(size, process_index, process_count) for size in sizes]
    check_bounds(bounds)
    if not len(source):
        raise ValueError("the source holds no examples: give at least one.")
    if min(sizes) > len(source):
        raise ValueError(
            f"batch_size is {batch_size}, but there are only {len(source)} examples: make the batch smaller."
        )
    buckets = _buckets_of(source, bounds, lengths)
    counts = np.bincount(buckets, minlength=len(bounds))
    per_epoch = int(np.sum(-(-counts // np.array(sizes))))

    # Two, since batches read ahead may belong to the next epoch.
    @functools.lru_cache(maxsize=2)
    def epoch(number: int) -> list[Int[np.ndarray, "_"]]:
        order = random_order(len(source), seed, stream=2 * number)
        groups = [
            members[start : start + size]
            for bucket, size in enumerate(sizes)
            for members in [order[buckets[order] == bucket]]
            for start in range(0, len(members), size)
        ]
        return [groups[place] for place in random_order(per_epoch, seed, stream=2 * number + 1)]

    def read(batch: int) -> tuple[Bound, list[Any]]:
        indices = epoch(batch // per_epoch)[batch % per_epoch]
        bucket = int(buckets[indices[0]])
        shard = shards[bucket]
        examples = [source[index] for index in indices[shard[shard < len(indices)]].tolist()]
        # The bucket's bound, so that a process with an empty shard pads to the same T.
        padding = [empty_example(source[0])] * (len(shard) - len(examples))
        return bounds[bucket], examples + padding

    import grain

    rows = grain.MapDataset.range(sys.maxsize).map(read)
    identity = {
        "examples": len(source),
        "batch_size": batch_size if isinstance(batch_size, int) else sizes,
        "seed": seed,
        "bounds": np.asarray(bounds).tolist(),
    }
    return BucketBatches(ResumableIterator(rows, identity, read_options(threads)), collate, per_epoch)


def length_bounds(longest: int, *, least: int = 12, growth: float = 2.0) -> list[int]:
    """Returns bounds of buckets for sequences of up to `longest` steps: that, then each the `growth`-th part of the
    one before, rounded up, until one is at most `least`; in increasing order. Each bucket is compiled by itself.

    Raises ValueError for a `longest` or `least` below 1 or a growth of 1 or less.
    """
    if longest < 1 or least < 1 or growth <= 1:
        raise ValueError(
            f"longest is {longest}, least {least} and growth {growth}: give 1 or more, and a growth above 1."
        )
    bounds = [longest]
    while bounds[-1] > least and math.ceil(bounds[-1] / growth) < bounds[-1]:
        bounds.append(math.ceil(bounds[-1] / growth))
    return bounds[::-1]


def check_bounds(bounds: Sequence[Bound]) -> None:
    """Raises ValueError for bounds that don't increase from 1 or more; parts of tuples may stay equal, not all."""
    rows = _as_rows(bounds)
    steps = np.diff(rows, axis=0)
    if not rows.size or rows.min() < 1 or (steps < 0).any() or not steps.any(axis=1).all():
        raise ValueError(f"bounds are {list(bounds)}: give at least one, in increasing order from 1 or more.")


def bucket_of(lengths: Sequence[Bound], bounds: Sequence[Bound]) -> Int[np.ndarray, "N"]:
    """Returns the index of the first bound into which all lengths of each example fit, len(bounds) if none."""
    columns = zip(_as_rows(bounds).T, _as_rows(lengths).T, strict=True)
    return np.max([np.searchsorted(column, of_examples) for column, of_examples in columns], axis=0)


def _as_rows(lengths: Sequence[Bound]) -> Int[np.ndarray, "N parts"]:
    """Returns lengths or bounds, each a number or a tuple, as a row each."""
    return np.asarray(lengths, int).reshape(len(lengths), -1 if len(lengths) else 1)


def _buckets_of(
    source: Sequence[Any], bounds: Sequence[Bound], lengths: Callable[[Any], Bound]
) -> Int[np.ndarray, "N"]:
    """Returns the bucket of each example. Raises ValueError for one without steps, or too long for every bucket."""
    steps = [lengths(example) for example in source]
    empty = np.flatnonzero((_as_rows(steps) == 0).any(axis=1))
    if len(empty):
        raise ValueError(f"example {empty[0]} of the source has no steps: leave it out.")
    buckets = bucket_of(steps, bounds)
    index = int(buckets.argmax())
    if buckets[index] == len(bounds):
        raise ValueError(
            f"example {index} of the source has {steps[index]} steps, more than the last bound {bounds[-1]}: "
            "raise it or cut the example."
        )
    return buckets


@dataclass(frozen=True, eq=False)
class SortedBatches:
    """Every example once, in batches of similar length: example i of the batches, without those that are padding,
    is example `order[i]` of the source."""

    batches: list[Any]
    order: Int[np.ndarray, "N"]

    def restore_order(self, results: Sequence[T]) -> list[T]:
        """Returns what was computed from the batches, a result per example, in the order of the source.

        Raises ValueError if there is not one result per example.
        """
        if len(results) != len(self.order):
            raise ValueError(
                f"there are {len(results)} results for {len(self.order)} examples: give one for each."
            )
        return [results[position] for position in np.argsort(self.order)]


def sorted_batches(
    source: Sequence[Any],
    *,
    batch_size: int,
    bounds: Sequence[Bound],
    lengths: Callable[[Any], Bound] = steps_of,
    collate: Callable[[Sequence[Any], Any], Any] = collate,
) -> SortedBatches:
    """Returns ⌈N / batch_size⌉ batches of every example once, the shortest first.

    Each is padded in time to the first of the `bounds` that all of its examples fit, and the last with masked
    examples. Arguments and errors are those of `bucket_batches`, but a batch may be larger than the data.
    """
    shard_indices(batch_size, 0, 1)  # checks it
    check_bounds(bounds)
    if not len(source):
        raise ValueError("the source holds no examples: give at least one.")
    buckets = _buckets_of(source, bounds, lengths)
    total = _as_rows([lengths(example) for example in source]).sum(axis=1)
    order = np.lexsort((total, buckets))
    batches = []
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        padding = [empty_example(source[0])] * (batch_size - len(indices))
        examples = [source[index] for index in indices.tolist()]
        batches.append(collate(examples + padding, bounds[int(buckets[indices].max())]))
    return SortedBatches(batches, order)


class BucketBatches:
    """Batches from `(bound, examples)`; the state is that of `ResumableIterator`."""

    def __init__(
        self,
        rows: ResumableIterator[tuple[Bound, list[Any]]],
        collate: Callable[[Sequence[Any], Any], Any],
        batches_per_epoch: int,
    ) -> None:
        self._rows = rows
        self._collate = collate
        self.batches_per_epoch = batches_per_epoch

    def take(self, count: int) -> Any:
        """Returns the next `count` batches, NumPy leaves [count, ...]. Raises ValueError for count < 1."""
        taken = self._rows.take(count)
        length = _largest([bound for bound, _ in taken])
        return jax.tree.map(
            lambda *leaves: np.stack(leaves), *(self._collate(row, length) for _, row in taken)
        )

    def get_state(self) -> bytes:
        return self._rows.get_state()

    def set_state(self, state: bytes) -> None:
        self._rows.set_state(state)


def _largest(bounds: Sequence[Bound]) -> Bound:
    """Returns the largest bound; of tuples, the largest in every part."""
    if isinstance(bounds[0], int):
        return max(bounds)
    return tuple(np.max(_as_rows(bounds), axis=0).tolist())
