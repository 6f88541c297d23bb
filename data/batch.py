"""Batches that a training step is fed, and their sources. Axes: T time, B batch, D input."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


class Batch(NamedTuple):
    """One time-major batch.

    A step whose mask is False holds zeros and means nothing. An example whose steps are all False is no
    example at all: it only fills the batch up, so `mask.any(axis=0)`, [B], tells which examples are real.
    """

    inputs: Array  # [T, B, D] float32, or token ids [T, B] int32
    targets: Array  # [B], [T, B] or [T, B, ...]: what is to be predicted
    mask: Array  # [T, B] bool, True where the step is valid

    def batch_axes(self) -> Any:
        """The axis of each leaf that is B, in the form of a batch."""
        axes: Any = {"inputs": 1, "targets": min(self.targets.ndim - 1, 1), "mask": 1}
        return Batch(**axes)

    def pad_to(self, size: int) -> "Batch":
        """The batch with `size` examples, those added being none: zeros, and masked throughout."""

        def fill(leaf: Array, axis: int) -> Array:
            xp = jnp if isinstance(leaf, jax.Array) else np
            ends = [(0, size - leaf.shape[axis] if i == axis else 0) for i in range(leaf.ndim)]
            return xp.pad(leaf, ends)

        return Batch(*map(fill, self, self.batch_axes()))


@runtime_checkable
class Batches(Protocol):
    """An endless sequence of batches with a position in it that can be saved."""

    def take(self, count: int) -> Batch:
        """The next `count` batches stacked: every leaf has a leading axis of size `count`."""
        ...

    def get_state(self) -> bytes:
        """The position as JSON text. After `set_state` with it, `take` goes on with the same next batch."""
        ...

    def set_state(self, state: bytes) -> None:
        """Goes to a position that `get_state` gave; ValueError where it can't be one of these batches."""
        ...
