"""Endless batches of a task: batch i is a function of the key and i alone."""

import functools
import json
import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from data.batch import Batch
from data.pipeline import shard_indices

MakeBatch = Callable[[jax.Array, int], Batch]  # (key, batch_size) → batch; bind the rest by functools.partial
_SPLITS = ("train", "validation", "test")


def split_key(key: jax.Array, split: str) -> jax.Array:
    """Returns the key of one split: batches made from the keys of different splits are independent.

    Threefry is a bijection for each key, so the three keys always differ. The number folded in is a checksum of the
    name, not 0, 1, 2, since `fold_in(key, i)` is `jax.random.split(key)[i]`, which may be used elsewhere. Raises
    ValueError for an unknown name.
    """
    if split not in _SPLITS:
        raise ValueError(f"split is {split!r}: it must be one of {', '.join(_SPLITS)}.")
    return jax.random.fold_in(key, zlib.crc32(split.encode()))


class TaskBatches:
    """Endless batches, of which batch i is `task(fold_in(key, i), batch_size)`; `take(n)` makes n in one dispatch.

    Compiled once per power of two (n is rounded up to one) and task object, so pass the same `functools.partial` to
    batches that should share the program. Training and evaluation need different keys: see `split_key`. The state
    is the index of the next batch. Process p keeps the p-th of P equal shards of each batch: generating all of it
    is cheap, and makes it the same batch for any P.

    Raises ValueError for a batch size below 1 or not divisible by the number of processes, and for a key that is
    not threefry, with which a batch would depend on the machine and on how many are made at once.
    """

    def __init__(
        self,
        task: MakeBatch,
        key: jax.Array,
        batch_size: int,
        *,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}: a batch has at least 1 example.")
        shard = shard_indices(batch_size, process_index, process_count)
        generator = str(jax.random.key_impl(key))
        if generator != "threefry2x32":
            raise ValueError(f'key is of {generator}: make it by jax.random.key(seed, impl="threefry2x32").')
        self._task = task
        self._key = key
        self._batch_size = batch_size
        self._shard = None if process_count == 1 else (int(shard[0]), len(shard))
        self._index = 0

    def take(self, count: int) -> Batch:
        """Returns the next `count` batches, NumPy leaves [count, ...]. Raises ValueError for count < 1."""
        if count < 1:
            raise ValueError(f"count is {count}: take at least 1 batch.")
        padded_count = 1 << (count - 1).bit_length()
        device = _make(self._task, self._batch_size, padded_count, self._key, np.uint32(self._index))
        # Sliced on the host: on the device every count would need its own program.
        batches = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], device)
        self._index += count
        return batches if self._shard is None else _slice_examples(batches, *self._shard)

    def get_state(self) -> bytes:
        return json.dumps({"index": self._index}).encode()

    def set_state(self, state: bytes) -> None:
        try:
            index = json.loads(state)["index"]
        except (ValueError, KeyError, TypeError):
            index = None
        if not isinstance(index, int) or not 0 <= index < 2**32:
            raise ValueError(
                f"state {state!r} is not that of a task's batches: restore another, or start a new run."
            )
        self._index = index


# A module-level function, so that every TaskBatches of the same task shares the compiled program.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _make(task: MakeBatch, batch_size: int, count: int, key: jax.Array, start: jax.Array) -> Batch:
    indices = start + jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(lambda index: task(jax.random.fold_in(key, index), batch_size))(indices)


def _slice_examples(batches: Batch, first: int, size: int) -> Batch:
    """Slices `size` examples, from `first` on, out of each of several stacked batches."""
    axes = jax.tree.map(lambda leaf: leaf[0], batches).batch_axes()
    return jax.tree.map(
        lambda leaf, axis: leaf[(slice(None),) * (axis + 1) + (slice(first, first + size),)], batches, axes
    )
