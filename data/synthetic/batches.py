"""Endless batches of a task: batch i is a function of the key and i, and nothing is kept between them."""

import functools
import json
import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from data.batch import Batch
from data.pipeline import share_of

MakeBatch = Callable[[jax.Array, int], Batch]  # (key, batch_size) → batch; functools.partial gives the rest
_SPLITS = ("train", "validation", "test")


def split_key(key: jax.Array, split: str) -> jax.Array:
    """The key of one split: batches made from different splits' keys have nothing to do with each other.

    Threefry is a bijection for each key, so the three keys differ for certain. The number folded in is a
    checksum of the name, not 0, 1, 2: `jax.random.split(key)[i]` is `fold_in(key, i)`, and would be a key
    used elsewhere. Raises ValueError for another name.
    """
    if split not in _SPLITS:
        raise ValueError(f"split is {split!r}: it must be one of {', '.join(_SPLITS)}.")
    return jax.random.fold_in(key, zlib.crc32(split.encode()))


class TaskBatches:
    """Batch i is `task(fold_in(key, i), batch_size)`; `take(n)` makes n of them in one dispatch.

    Compiled once for each power of two and each task object (the next above n is made, and n of it handed out), so
    give the same `functools.partial` to batches that should share it. Training and evaluation need keys of their
    own: see `split_key`. The state is the index of the next batch. Of each batch process p keeps the p-th of P
    equal parts: to make the whole costs little, and it is the same batch whatever P is.

    Raises ValueError for a batch size below 1 or that doesn't divide by the processes, or a key that is not
    threefry's, with which a batch would depend on the machine and on how many are made at once.
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
            raise ValueError(f"batch_size is {batch_size}: a batch holds at least 1 example.")
        share = share_of(batch_size, process_index, process_count)
        generator = str(jax.random.key_impl(key))
        if generator != "threefry2x32":
            raise ValueError(f'key is of {generator}: make it by jax.random.key(seed, impl="threefry2x32").')
        self._task = task
        self._key = key
        self._batch_size = batch_size
        self._share = None if process_count == 1 else (int(share[0]), len(share))
        self._index = 0

    def take(self, count: int) -> Batch:
        """The next `count` batches, NumPy leaves [count, ...]; ValueError for count < 1."""
        if count < 1:
            raise ValueError(f"count is {count}: take at least 1 batch.")
        made = 1 << (count - 1).bit_length()
        device = _make(self._task, self._batch_size, made, self._key, np.uint32(self._index))
        # Cut here: on the device every count would be a program of its own, and so would what follows it.
        batches = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], device)
        self._index += count
        return batches if self._share is None else _cut(batches, *self._share)

    def get_state(self) -> bytes:
        return json.dumps({"index": self._index}).encode()

    def set_state(self, state: bytes) -> None:
        try:
            index = json.loads(state)["index"]
        except (ValueError, KeyError, TypeError):
            index = None
        if not isinstance(index, int) or not 0 <= index < 2**32:
            raise ValueError(
                f"state {state!r} is not that of a task's batches: start anew or restore another."
            )
        self._index = index


# A function of the module, so that every TaskBatches of the same task shares what is compiled.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _make(task: MakeBatch, batch_size: int, count: int, key: jax.Array, start: jax.Array) -> Batch:
    indices = start + jnp.arange(count, dtype=jnp.uint32)
    return jax.vmap(lambda index: task(jax.random.fold_in(key, index), batch_size))(indices)


def _cut(batches: Batch, first: int, size: int) -> Batch:
    """So many examples of each of some stacked batches, from one on."""
    axes = jax.tree.map(lambda leaf: leaf[0], batches).batch_axes()
    return jax.tree.map(
        lambda leaf, axis: leaf[(slice(None),) * (axis + 1) + (slice(first, first + size),)], batches, axes
    )
