"""Batches for the loop: one chunk fetched ahead, and the position of what has been used up."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from train.state import PyTree


@runtime_checkable
class Batches(Protocol):
    """A source of batches, and a position in it that can be saved (`data/batch.py` has the real ones)."""

    def take(self, count: int, /) -> PyTree:
        """The next `count` batches stacked, leaves `[count, …]`, in memory that is not used again."""
        ...

    def get_state(self) -> bytes:
        """The position: what `set_state` needs so that the same batches follow."""
        ...

    def set_state(self, state: bytes, /) -> None:
        """Goes to a position, forward or back."""
        ...


class Feed:
    """Hands out chunks of batches; `position` is where the last chunk handed out ends."""

    def __init__(self, batches: Batches) -> None:
        self.position = batches.get_state()
        self._batches = batches
        self._before = self.position
        self._ahead: PyTree = None

    def next(self, count: int) -> PyTree:
        """The chunk fetched ahead, or the next `count` batches now.

        Raises:
            ValueError: the batches don't come stacked as they were asked for.
        """
        chunk = self._batches.take(count) if self._ahead is None else self._ahead
        lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(chunk)}
        if lengths != {(count,)}:
            raise ValueError(
                f"take({count}) of the batches must give arrays whose first axis is {count}, "
                f"but the first axes are {sorted(lengths)}"
            )
        self._ahead = None
        self._before, self.position = self.position, self._batches.get_state()
        return chunk

    def fetch_ahead(self, count: int) -> None:
        """Prepares the chunk that `next` will hand out, while the device is at work."""
        self._ahead = self._batches.take(count)

    def rewind_to(self, used: int) -> None:
        """Sets the position as if only the first `used` batches of the last chunk had been handed out."""
        self._batches.set_state(self._before)
        if used:
            self._batches.take(used)
        self._ahead, self.position = None, self._batches.get_state()

    def skip(self) -> None:
        """Leaves the next batch out."""
        self._batches.take(1)
        self.position = self._batches.get_state()

    def drop_prefetch(self) -> None:
        """Leaves the batches at `position`, giving back what was fetched ahead."""
        if self._ahead is not None:
            self._ahead = None
            self._batches.set_state(self.position)


def padded(batches: PyTree, length: int) -> PyTree:
    """Stacked batches filled up with zeros to `[length, …]`: chunks of all sizes share one program."""

    def pad(leaf: Any) -> Any:
        xp = jnp if isinstance(leaf, jax.Array) else np
        missing = length - leaf.shape[0]
        return xp.concatenate([leaf, xp.zeros((missing, *leaf.shape[1:]), leaf.dtype)]) if missing else leaf

    return jax.tree.map(pad, batches)
