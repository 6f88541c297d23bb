"""Batches for a training step, and their sources. Axes: T time, B batch, D input."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


class Batch(NamedTuple):
    """One time-major batch.

    A step whose mask is False holds zeros and is ignored. An example whose steps are all masked is padding, so
    `mask.any(axis=0)`, [B], tells which examples are real.
    """

    inputs: Array  # [T, B, D] float32, or token ids [T, B] int32
    targets: Array  # [B], [T, B] or [T, B, ...]
    mask: Array  # [T, B] bool, True where the step is valid

    def batch_axes(self) -> Any:
        """Returns, as a batch, the axis of each leaf that is B."""
        axes: Any = {"inputs": 1, "targets": min(self.targets.ndim - 1, 1), "mask": 1}
        return Batch(**axes)

    def pad_to(self, size: int) -> "Batch":
        """Pads the batch to `size` with masked examples."""
        return pad_batch(self, size)


def pad_batch(batch: Any, size: int) -> Any:
    """Pads the batch axis of every leaf, from `batch.batch_axes()`, to `size` with zeros: masked examples."""

    def pad(leaf: Array, axis: int) -> Array:
        xp = jnp if isinstance(leaf, jax.Array) else np
        return xp.pad(leaf, [(0, size - leaf.shape[axis] if i == axis else 0) for i in range(leaf.ndim)])

    return jax.tree.map(pad, batch, batch.batch_axes())


@runtime_checkable
class Batches(Protocol):
    """An endless sequence of batches whose position can be saved."""

    def take(self, count: int) -> Batch:
        """Returns the next `count` batches stacked: every leaf has a leading axis of size `count`."""
        ...

    def get_state(self) -> bytes:
        """Returns the position as JSON text. After `set_state` with it, `take` returns the same next batch."""
        ...

    def set_state(self, state: bytes) -> None:
        """Restores a position returned by `get_state`. Raises ValueError if it can't be one of these batches."""
        ...
