"""The data pipeline, on Grain: source → shuffle → repeat → shard by process → read → pad → batch.

Grain keeps the position, prefetches, and maps the index of a batch to its examples; so batch i is a function of the
source, the seed and i alone. The shuffle is NumPy's, since Grain's works element by element: 1.1 ms for the 64
indices of a batch (`range(5000).shuffle(1).repeat()[0::2].batch(64)`, one CPU core), a third of a small model's
training step, against 0.01 ms here. The cost is one sort per epoch, 0.12 s for a million examples.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from data.batch import Batch
from data.examples import (
    ArrayExamples,
    Example,
    PadToMultiple,
    Source,
    check_example,
    collate,
    common_length,
    empty_example,
    resolve_length,
)
from data.position import ResumableIterator, random_order

Dataset = Any  # a `grain.MapDataset[Sequence[Example]]`; Grain is slow to import, so only where it is used
Collate = Callable[[Sequence[Example], int], Any]  # (examples, length) → batch, usually a `Batch`


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    length: int | PadToMultiple | None = None,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 0,
    collate: Collate = collate,
) -> "GrainBatches":
    """Returns endless batches, every epoch in a new order.

    The epochs, each a permutation of the N examples drawn from (seed, epoch), are concatenated and split into
    batches of `batch_size`, of which process p gets the p-th of P equal shards. Nothing is dropped: a batch may
    contain the end of one epoch and the start of the next, every example occurs once per epoch and in one
    process, and batch i of all processes together is the same set of examples for any P.

    `batch_size` is that of the whole batch; this process makes batch_size / process_count of it. `length` is the
    length to pad sequences to: a number of steps, a `PadToMultiple`, or None for the longest of the source (which
    reads all of it once; give a number if reading is slow). `threads` > 0 reads that many batches in parallel and
    ahead of time, for a source in files; one in memory needs none.

    Raises ValueError if the source is empty or smaller than a batch (which would contain an example twice), if
    batch_size is not divisible by process_count, if `length` is a `PadToMultiple` with several processes (whose T
    would differ), or if an example is longer than `length` (at once for examples in memory, else on reading).
    """
    shard = shard_indices(batch_size, process_index, process_count)
    count = _count(source)
    if batch_size > count:
        raise ValueError(
            f"batch_size is {batch_size}, but there are only {count} examples: make the batch smaller."
        )
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}: it must lie in 0 … 2**64 - 1.")
    padding = resolve_length(source, length, process_count)

    def read(batch: int) -> Sequence[Example]:
        epochs, positions = np.divmod(batch * batch_size + shard, count)
        orders = [
            _epoch_order(count, seed, int(epoch))[positions[epochs == epoch]] for epoch in np.unique(epochs)
        ]
        return _read_examples(source, np.concatenate(orders), padding)

    import grain

    rows = grain.MapDataset.range(sys.maxsize).map(read)
    identity = {"examples": count, "batch_size": batch_size, "seed": seed}
    return GrainBatches(rows, padding, collate, identity, threads)


def evaluation_batches(
    source: Source,
    *,
    batch_size: int,
    length: int | PadToMultiple | None = None,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 0,
    collate: Collate = collate,
) -> "EvaluationBatches":
    """Returns batches with every example exactly once, in the order of the source: ⌈N / batch_size⌉ batches of
    equal size.

    The last is padded with masked examples; `batch.mask.any(axis=0)` [B] is True for the real ones, and a mean over
    examples must be weighted by it. Process p gets the p-th of P equal shards of each batch; every process has the
    same number of batches, the last possibly without a real example. The other arguments and errors are those of
    `train_batches`, but a batch may be larger than the data.
    """
    shard = shard_indices(batch_size, process_index, process_count)
    count = _count(source)
    padding = resolve_length(source, length, process_count)

    def read(batch: int) -> Sequence[Example]:
        positions = batch * batch_size + shard
        real = positions[positions < count]
        examples = _read_examples(source, real, padding)
        if len(real) == len(positions):
            return examples
        return [*examples, *[empty_example(source[0])] * (len(positions) - len(real))]

    import grain

    rows = grain.MapDataset.range(-(-count // batch_size)).map(read)
    return EvaluationBatches(rows, padding, collate, threads)


class GrainBatches:
    """Batches from an endless Grain dataset whose elements are the examples of one batch each.

    `take` pads the batches it stacks to one T: with a `PadToMultiple`, that of the longest example of them all.
    The state is that of `ResumableIterator`; it doesn't depend on the process, nor on how many there are.
    """

    def __init__(
        self,
        rows: Dataset,
        padding: int | PadToMultiple,
        collate: Collate,
        identity: dict[str, int],
        threads: int = 0,
    ) -> None:
        self._rows = ResumableIterator(rows, identity, read_options(threads))
        self._padding = padding
        self._collate = collate

    def take(self, count: int) -> Batch:
        """Returns the next `count` batches, NumPy leaves [count, ...]. Raises ValueError for count < 1."""
        rows = self._rows.take(count)
        length = common_length(rows, self._padding)
        batches = [self._collate(examples, length) for examples in rows]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)

    def get_state(self) -> bytes:
        return self._rows.get_state()

    def set_state(self, state: bytes) -> None:
        self._rows.set_state(state)


class EvaluationBatches:
    """A finite sequence of batches that can be iterated repeatedly."""

    def __init__(
        self,
        rows: Dataset,
        padding: int | PadToMultiple,
        collate: Collate,
        threads: int = 0,
    ) -> None:
        self._rows = rows
        self._padding = padding
        self._collate = collate
        self._options = read_options(threads)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Batch]:
        for examples in self._rows.to_iter_dataset(self._options):
            yield self._collate(examples, common_length([examples], self._padding))


# Two, since a batch may span two epochs.
@functools.lru_cache(maxsize=2)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return random_order(count, seed, stream=epoch)


def _read_examples(source: Source, indices: np.ndarray, padding: int | PadToMultiple) -> Sequence[Example]:
    if isinstance(source, ArrayExamples):
        return source[indices]
    examples = [source[index] for index in indices.tolist()]
    for index, example in zip(indices.tolist(), examples, strict=True):
        check_example(index, example, padding)
    return examples


def _count(source: Source) -> int:
    if len(source) == 0:
        raise ValueError("the source has no examples: give at least one.")
    return len(source)


def shard_indices(batch_size: int, process_index: int, process_count: int) -> np.ndarray:
    """Returns the indices within a batch of this process's shard, [batch_size / process_count]."""
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index is {process_index}: it must lie in 0 … {process_count - 1}.")
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(
            f"batch_size is {batch_size}: it is that of the whole batch and must be a multiple of the "
            f"{process_count} processes, at least 1."
        )
    shard = batch_size // process_count
    # Contiguous, as devices shard a batch: P processes with one device each equal one process with P devices.
    return np.arange(process_index * shard, (process_index + 1) * shard)


def read_options(threads: int) -> Any:
    """Returns Grain's `ReadOptions` to read `threads` batches in parallel, and prefetch twice as many."""
    if threads < 0:
        raise ValueError(f"threads is {threads}: it must be 0 or more.")
    import grain

    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
