"""Batches for the loop: prefetches one chunk, and tracks the position of the data used so far."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from train.state import PyTree


@runtime_checkable
class Batches(Protocol):
    """A source of batches whose position can be saved (implemented in `data`)."""

    def take(self, count: int, /) -> PyTree:
        """Returns the next `count` batches stacked, leaves `[count, …]`, in memory that is not reused."""
        ...

    def get_state(self) -> bytes:
        """Returns the position, from which `set_state` continues with the same batches."""
        ...

    def set_state(self, state: bytes, /) -> None:
        """Moves to a position, forward or back."""
        ...


class Feed:
    """Returns chunks of batches; `position` is the end of the last chunk returned."""

    def __init__(self, batches: Batches) -> None:
        self.position = batches.get_state()
        self._batches = batches
        self._before = self.position
        self._ahead: PyTree = None

    def next(self, count: int) -> PyTree:
        """Returns the prefetched chunk, or fetches the next `count` batches.

        Raises:
            ValueError: the batches aren't stacked as requested.
        """
        chunk = self._batches.take(count) if self._ahead is None else self._ahead
        lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(chunk)}
        if lengths != {(count,)}:
            raise ValueError(
                f"take({count}) of the batches must return arrays whose first axis is {count}, "
                f"but the first axes are {sorted(lengths)}"
            )
        self._ahead = None
        self._before, self.position = self.position, self._batches.get_state()
        return chunk

    def fetch_ahead(self, count: int) -> None:
        """Prefetches the chunk that `next` will return, while the device is busy."""
        self._ahead = self._batches.take(count)

    def rewind_to(self, used: int) -> None:
        """Sets the position as if only the first `used` batches of the last chunk had been returned."""
        self._batches.set_state(self._before)
        if used:
            self._batches.take(used)
        self._ahead, self.position = None, self._batches.get_state()

    def skip(self) -> None:
        """Skips the next batch."""
        self._batches.take(1)
        self.position = self._batches.get_state()

    def drop_prefetch(self) -> None:
        """Drops the prefetched chunk and moves the batches back to `position`."""
        if self._ahead is not None:
            self._ahead = None
            self._batches.set_state(self.position)


def pad_steps(batches: PyTree, length: int) -> PyTree:
    """Pads stacked batches with zeros to `[length, …]`, so that chunks of all sizes share one program."""

    def pad(leaf: Any) -> Any:
        xp = jnp if isinstance(leaf, jax.Array) else np
        missing = length - leaf.shape[0]
        return xp.concatenate([leaf, xp.zeros((missing, *leaf.shape[1:]), leaf.dtype)]) if missing else leaf

    return jax.tree.map(pad, batches)
