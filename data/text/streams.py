"""Token streams as batches: rows that go on where they stopped, shuffled windows, sentences by their length."""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from data.batch import Array
from data.examples import ArrayExamples, Example
from data.pipeline import read_options, share_of
from data.position import ResumableIterator

Ids = Int[np.ndarray, "N"]


class StreamBatch(NamedTuple):
    """The next T tokens of B rows of text, time-major, and whether the state is to be carried into them.

    Where `fresh` is True the row begins, and the state with it: `models.carried(state, fresh, initial)`.
    """

    inputs: Array  # [T, B] int32: the tokens that are seen
    targets: Array  # [T, B] int32: those that follow each
    mask: Array  # [T, B] bool, False behind the end of a row
    fresh: Array  # [B] bool

    def batch_axes(self) -> Any:
        """The axis of each leaf that is B, in the form of a batch."""
        axes: Any = {"inputs": 1, "targets": 1, "mask": 1, "fresh": 0}
        return StreamBatch(**axes)

    def pad_to(self, size: int) -> "StreamBatch":
        """The batch with `size` rows, those added being none: zeros, and masked throughout."""

        def fill(leaf: Array, axis: int) -> Array:
            xp = jnp if isinstance(leaf, jax.Array) else np
            return xp.pad(leaf, [(0, size - leaf.shape[axis] if i == axis else 0) for i in range(leaf.ndim)])

        return StreamBatch(*map(fill, self, self.batch_axes()))


class StreamBatches:
    """A text as B long rows read T tokens at a time, over and over; every token is a target exactly once an epoch.

    The N targets are cut into B rows of ⌈N / B⌉ (the last ones one shorter, or empty where B is nearly N), row
    b going on from batch to batch; the last batch of an epoch is shorter by its mask, and the first of the next
    begins all rows anew. `before` is the token that is seen before the first; without it the first token is
    only seen, and N is one less. Process p makes the p-th of P equal parts of the rows; batch i of all
    together is the same whatever P is. A `length` beyond a row is a row's.

    Raises ValueError where there are fewer targets than rows.
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
        rows = share_of(batch_size, process_index, process_count)
        _check_length(length)
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
        """The next `count` batches, leaves [count, ...]. Raises ValueError for count < 1."""
        return jax.tree.map(lambda *leaves: np.stack(leaves), *self._batches.take(count))

    def get_state(self) -> bytes:
        return self._batches.get_state()

    def set_state(self, state: bytes) -> None:
        self._batches.set_state(state)


def pairs(tokens: Ids, before: int | None = None) -> tuple[Int[np.ndarray, "_"], Int[np.ndarray, "_"]]:
    """Returns what is seen and what follows it, of the same length; `before` is seen before the first token.

    Raises ValueError where nothing is left to predict.
    """
    seen = tokens if before is None else np.concatenate([np.array([before], tokens.dtype), tokens])
    if len(seen) < 2:
        raise ValueError(f"a text of {len(tokens)} tokens leaves nothing to predict: give more")
    return seen[:-1], seen[1:]


def windows(tokens: Ids, length: int, *, stride: int | None = None) -> ArrayExamples:
    """Pieces of `length` tokens and what follows each token, one every `stride` (by default side by side).

    For `train_batches`, which shuffles them: no state is carried. inputs, targets [N, T], views of the text. Tokens
    at the end that fill no window are left out. Raises ValueError where the text is shorter than one window.
    """
    _check_length(length)
    step = length if stride is None else stride
    if step < 1:
        raise ValueError(f"stride is {stride}: windows lie at least 1 token apart.")
    if len(tokens) < length + 1:
        raise ValueError(
            f"a window of {length} tokens and the next doesn't fit a text of {len(tokens)}: make it shorter."
        )
    found = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[::step]
    return ArrayExamples(found[:, :-1], found[:, 1:])


def sentences(tokens: Ids, end: int) -> list[Example]:
    """Each line by itself: its tokens seen after the end mark of another line, to be predicted with their own mark.

    A last line without an end mark counts too. inputs and target [T] of each, T ≥ 1.
    """
    cuts = np.flatnonzero(tokens == end) + 1
    lines = [line for line in np.split(tokens, cuts) if len(line)]
    return [
        Example(np.concatenate([[end], line[:-1]]).astype(np.int32), line.astype(np.int32)) for line in lines
    ]


def _check_length(length: int) -> None:
    if length < 1:
        raise ValueError(f"length is {length}: a batch has at least 1 step.")
