"""Batches of examples of similar length, so that little of a batch is padding."""

import functools
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from data.examples import Example, collate, empty_example
from data.pipeline import Collate, read_options, shard_indices
from data.position import ResumableIterator, random_order


def bucket_batches(
    source: Sequence[Example],
    *,
    batch_size: int,
    seed: int,
    bounds: Sequence[int],
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 0,
    collate: Collate = collate,
) -> "BucketBatches":
    """Returns endless shuffled batches, each from one bucket: examples of at most `bounds[i]` steps, and more than
    `bounds[i−1]`.

    Every epoch visits every example once, in a new order: the examples of each bucket are shuffled and split into
    batches, then the batches of all buckets are shuffled. A bucket's last batch is padded with masked examples.
    Batches are padded in time to the bound of their bucket, so that at most `len(bounds)` lengths are compiled;
    several batches taken at once are padded to the longest among them.

    With several processes each makes its shard of the same batch, hence of the same bucket and T.

    Raises ValueError for bounds that don't increase, an example longer than the last bound, and as `train_batches`
    does for batch sizes, seeds and an empty source.
    """
    shard = shard_indices(batch_size, process_index, process_count)
    if not bounds or any(low >= high for low, high in zip((0, *bounds), bounds, strict=False)):
        raise ValueError(f"bounds are {list(bounds)}: give at least one, in increasing order from 1 or more.")
    if not len(source):
        raise ValueError("the source holds no examples: give at least one.")
    if batch_size > len(source):
        raise ValueError(
            f"batch_size is {batch_size}, but there are only {len(source)} examples: make the batch smaller."
        )
    lengths = np.array([len(example.inputs) for example in source])
    if not lengths.min():
        raise ValueError(f"example {lengths.argmin()} of the source has no steps: leave it out.")
    if lengths.max() > bounds[-1]:
        raise ValueError(
            f"example {lengths.argmax()} of the source has {lengths.max()} steps, more than the last bound "
            f"{bounds[-1]}: raise it or cut the example."
        )
    buckets = np.searchsorted(bounds, lengths)
    sizes = np.bincount(buckets, minlength=len(bounds))
    per_epoch = int(np.sum(-(-sizes // batch_size)))

    # Two, since batches read ahead may belong to the next epoch.
    @functools.lru_cache(maxsize=2)
    def epoch(number: int) -> list[Int[np.ndarray, "_"]]:
        order = random_order(len(source), seed, stream=2 * number)
        groups = [
            members[start : start + batch_size]
            for bucket in range(len(bounds))
            for members in [order[buckets[order] == bucket]]
            for start in range(0, len(members), batch_size)
        ]
        return [groups[place] for place in random_order(per_epoch, seed, stream=2 * number + 1)]

    def read(batch: int) -> tuple[int, list[Example]]:
        indices = epoch(batch // per_epoch)[batch % per_epoch]
        examples = [source[index] for index in indices[shard[shard < len(indices)]].tolist()]
        # The bucket's bound, so that a process with an empty shard pads to the same T.
        return int(bounds[int(buckets[indices[0]])]), examples + [empty_example(source[0])] * (
            len(shard) - len(examples)
        )

    import grain

    rows = grain.MapDataset.range(sys.maxsize).map(read)
    identity = {"examples": len(source), "batch_size": batch_size, "seed": seed, "bounds": list(bounds)}
    return BucketBatches(ResumableIterator(rows, identity, read_options(threads)), collate, per_epoch)


class BucketBatches:
    """Batches from `(bound, examples)`; the state is that of `ResumableIterator`."""

    def __init__(
        self, rows: ResumableIterator[tuple[int, list[Example]]], collate: Collate, batches_per_epoch: int
    ) -> None:
        self._rows = rows
        self._collate = collate
        self.batches_per_epoch = batches_per_epoch

    def take(self, count: int) -> Any:
        """Returns the next `count` batches, NumPy leaves [count, ...]. Raises ValueError for count < 1."""
        taken = self._rows.take(count)
        length = max(bound for bound, _ in taken)
        return jax.tree.map(
            lambda *leaves: np.stack(leaves), *(self._collate(row, length) for _, row in taken)
        )

    def get_state(self) -> bytes:
        return self._rows.get_state()

    def set_state(self, state: bytes) -> None:
        self._rows.set_state(state)
