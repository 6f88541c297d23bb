"""Token streams as batches: rows that continue from batch to batch, shuffled windows, and sentences."""

import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from data.batch import Array, pad_batch
from data.examples import ArrayExamples, Example
from data.pipeline import read_options, shard_indices
from data.position import ResumableIterator

Ids = Int[np.ndarray, "N"]


class StreamBatch(NamedTuple):
    """The next T tokens of B rows of text, time-major, and where to reset the carried state.

    Where `reset` is True a row starts from the initial state: `models.carried(state, reset, initial)`.
    """

    inputs: Array  # [T, B] int32
    targets: Array  # [T, B] int32: the token after each input
    mask: Array  # [T, B] bool, False after the end of a row
    reset: Array  # [B] bool

    def batch_axes(self) -> Any:
        """Returns, as a batch, the axis of each leaf that is B."""
        axes: Any = {"inputs": 1, "targets": 1, "mask": 1, "reset": 0}
        return StreamBatch(**axes)

    def pad_to(self, size: int) -> "StreamBatch":
        """Pads the batch to `size` with masked rows."""
        return pad_batch(self, size)


class StreamBatches:
    """A text as B long rows, read T tokens at a time, endlessly; every token is a target exactly once per epoch.

    The N targets are split into B rows of ⌈N / B⌉ (the last ones shorter or empty if B doesn't divide N), which
    continue from batch to batch; the last batch of an epoch is masked where it exceeds a row, and the first of the
    next restarts all rows. `before` is the token before the first; without it the first token is an input only,
    and N is one less. Process p makes the p-th of P equal shards of the rows; batch i of all processes together
    is the same for any P. A `length` above that of a row is reduced to it.

    Raises ValueError if there are fewer targets than rows.
    """

    def __init__(
        self,
        tokens: Ids,
        *,
        batch_size: int,
        length: int,
        before: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
        threads: int = 0,
    ) -> None:
        rows = shard_indices(batch_size, process_index, process_count)
        check_length(length)
        inputs, targets = pairs(tokens, before)
        if batch_size > len(targets):
            raise ValueError(
                f"batch_size is {batch_size}, but the text has {len(targets)} tokens to predict: "
                "make the batch smaller."
            )
        row = -(-len(targets) // batch_size)
        length = min(length, row)
        self.batches_per_epoch = -(-row // length)
        self.targets_per_epoch = len(targets)
        starts = np.minimum(rows * row, len(targets))
        ends = np.minimum(starts + row, len(targets))
        per_epoch = self.batches_per_epoch

        def read(batch: int) -> StreamBatch:
            window = batch % per_epoch
            places = starts[None] + window * length + np.arange(length)[:, None]
            mask = places < ends[None]
            places = np.where(mask, places, 0)
            return StreamBatch(
                np.where(mask, inputs[places], 0).astype(np.int32),
                np.where(mask, targets[places], 0).astype(np.int32),
                mask,
                np.full(len(rows), window == 0),
            )

        identity = {"targets": len(targets), "batch_size": batch_size, "length": length}
        import grain

        dataset = grain.MapDataset.range(sys.maxsize).map(read)
        self._batches: ResumableIterator[StreamBatch] = ResumableIterator(
            dataset, identity, read_options(threads)
        )

    def take(self, count: int) -> StreamBatch:
        """Returns the next `count` batches, leaves [count, ...]. Raises ValueError for count < 1."""
        return jax.tree.map(lambda *leaves: np.stack(leaves), *self._batches.take(count))

    def get_state(self) -> bytes:
        return self._batches.get_state()

    def set_state(self, state: bytes) -> None:
        self._batches.set_state(state)


def pairs(tokens: Ids, before: int | None = None) -> tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]:
    """Returns inputs and targets, the next tokens, of the same length; `before` is the input before the first
    token.

    Raises ValueError if there is nothing to predict.
    """
    stream = tokens if before is None else np.concatenate([np.array([before], tokens.dtype), tokens])
    if len(stream) < 2:
        raise ValueError(f"a text of {len(tokens)} tokens leaves nothing to predict: give more")
    return stream[:-1], stream[1:]


def windows(tokens: Ids, length: int, *, stride: int | None = None) -> ArrayExamples:
    """Returns windows of `length` tokens and the next tokens, one every `stride` (by default adjacent).

    Meant for `train_batches`, which shuffles them: no state is carried. inputs, targets [N, T], views of the text.
    The incomplete window at the end is dropped. Raises ValueError if the text is shorter than one window.
    """
    check_length(length)
    step = length if stride is None else stride
    if step < 1:
        raise ValueError(f"stride is {stride}: it must be at least 1 token.")
    if len(tokens) < length + 1:
        raise ValueError(
            f"a window of {length} tokens and the next one doesn't fit into a text of {len(tokens)}: make it "
            "shorter."
        )
    found = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::step]
    return ArrayExamples(found[:, :-1], found[:, 1:])


def sentences(tokens: Ids, end: int) -> list[Example]:
    """Returns each line as an example: inputs start with the end mark of another line, targets end with its own.

    A last line without an end mark is included. inputs and target [T] of each, T ≥ 1.
    """
    cuts = np.flatnonzero(tokens == end) + 1
    lines = [line for line in np.split(tokens, cuts) if len(line)]
    return [
        Example(np.concatenate([[end], line[:-1]]).astype(np.int32), line.astype(np.int32)) for line in lines
    ]


def check_length(length: int) -> None:
    """Raises ValueError for a batch without steps."""
    if length < 1:
        raise ValueError(f"length is {length}: a batch has at least 1 step.")
