"""The one pipeline on Grain: source → shuffle → repeat → shard by process → read → pad → batch.

Grain keeps the position, reads ahead, and maps the number of a batch to its examples; so batch i is a function
of the source, the seed and i alone. The shuffle is NumPy's, since Grain's own goes element by element: 1.1 ms
for the 64 indices of a batch (`range(5000).shuffle(1).repeat()[0::2].batch(64)`, one CPU core), a third of a
small model's training step, against 0.01 ms here. The price is one sort an epoch, 0.12 s for a million examples.
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
    checked_steps,
    collate,
    common_length,
    empty_example,
    resolved_length,
)
from data.position import ResumableIterator, random_order

Dataset = (
    Any  # a `grain.MapDataset[Sequence[Example]]`; Grain is imported where it is used, for it takes long
)
Collate = Callable[[Sequence[Example], int], Any]  # (examples, length) → batch, a `Batch` as a rule


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
    """Endless batches, every epoch in an order of its own.

    The epochs, each a permutation of the N examples drawn from (seed, epoch), are joined end to end and cut
    into pieces of `batch_size`, of which process p gets the p-th of P equal parts. So nothing is dropped:
    a batch may hold the end of one epoch and the beginning of the next, every example comes once in each
    epoch, processes never share one within it, and batch i of all processes together is the same set of
    examples whatever P is.

    `batch_size` counts the whole batch; this process makes batch_size / process_count of it. `length` is what
    sequences are padded to: a number of steps, a `PadToMultiple`, or None for the longest of the source (which is
    read through once to find it; name a number where reading is slow). `threads` > 0 reads that many batches at
    once and ahead of time, for a source in files; one in memory needs none.

    Raises ValueError where the source is empty or smaller than a batch (which would hold an example twice),
    batch_size doesn't divide by process_count, a `PadToMultiple` meets several processes (they would differ in T),
    or an example is longer than `length` (at once for examples in memory, else when it is read).
    """
    share = share_of(batch_size, process_index, process_count)
    count = _count(source)
    if batch_size > count:
        raise ValueError(
            f"batch_size is {batch_size}, but the data hold {count} examples: make the batch smaller."
        )
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed}: it must lie in 0 … 2**64 - 1.")
    padding = resolved_length(source, length, process_count)

    def read(batch: int) -> Sequence[Example]:
        epochs, places = np.divmod(batch * batch_size + share, count)
        orders = [
            _epoch_order(count, seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)
        ]
        return _read(source, np.concatenate(orders), padding)

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
    """Every example exactly once, in the order of the source: ⌈N / batch_size⌉ batches, all of one size.

    The last is filled up with examples of zeros whose mask is all False; `batch.mask.any(axis=0)` [B] is True
    for the real ones, and a mean over examples must weigh by it. Process p gets the p-th of P
    equal parts of each batch; every process has as many batches as the others, the last perhaps of no real
    example at all. The other arguments and errors are those of `train_batches`, but a batch may be larger than
    the data.
    """
    share = share_of(batch_size, process_index, process_count)
    count = _count(source)
    padding = resolved_length(source, length, process_count)

    def read(batch: int) -> Sequence[Example]:
        places = batch * batch_size + share
        real = places[places < count]
        examples = _read(source, real, padding)
        if len(real) == len(places):
            return examples
        return [*examples, *[empty_example(source[0])] * (len(places) - len(real))]

    import grain

    rows = grain.MapDataset.range(-(-count // batch_size)).map(read)
    return EvaluationBatches(rows, padding, collate, threads)


class GrainBatches:
    """Batches from a Grain dataset whose elements are the examples of one batch each; it must have no end.

    `take` pads the batches it stacks to one T: with a `PadToMultiple`, that of the longest example of them all.
    The state is that of `ResumableIterator`. Which process it was doesn't matter, nor how many there were.
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
        """The next `count` batches, NumPy leaves [count, ...]. Raises ValueError for count < 1."""
        rows = self._rows.take(count)
        length = common_length(rows, self._padding)
        batches = [self._collate(examples, length) for examples in rows]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)

    def get_state(self) -> bytes:
        return self._rows.get_state()

    def set_state(self, state: bytes) -> None:
        self._rows.set_state(state)


class EvaluationBatches:
    """A finite sequence of batches: `len` of them, and each `for` goes through all from the first."""

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


# Two, since a batch may lie across two epochs.
@functools.lru_cache(maxsize=2)
def _epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    return random_order(count, seed, stream=epoch)


def _read(source: Source, indices: np.ndarray, padding: int | PadToMultiple) -> Sequence[Example]:
    if isinstance(source, ArrayExamples):
        return source[indices]
    examples = [source[index] for index in indices.tolist()]
    for index, example in zip(indices.tolist(), examples, strict=True):
        checked_steps(index, example, padding)
    return examples


def _count(source: Source) -> int:
    if len(source) == 0:
        raise ValueError("the source holds no examples: give at least one.")
    return len(source)


def share_of(batch_size: int, process_index: int, process_count: int) -> np.ndarray:
    """The places within a batch that this process fills, [batch_size / process_count]."""
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index is {process_index}: it must lie in 0 … {process_count - 1}.")
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(
            f"batch_size is {batch_size}: it counts the whole batch and must be a multiple of the "
            f"{process_count} processes, at least 1."
        )
    share = batch_size // process_count
    # Side by side, as devices cut a batch: so many processes of a device each do what one of so many devices does.
    return np.arange(process_index * share, (process_index + 1) * share)


def read_options(threads: int) -> Any:
    """Grain's `ReadOptions`: it reads `threads` batches at once, and as many again ahead."""
    if threads < 0:
        raise ValueError(f"threads is {threads}: it must be 0 or more.")
    import grain

    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
