"""Pooling over time: the output of the last valid step, or the mean over valid steps."""

import jax.numpy as jnp

from models.cell import Array


def last_valid(ys: Array, mask: Array | None = None, *, reverse: bool = False) -> Array:
    """Returns the output of each sequence's last valid step, in reverse of its first, which is read last.

    `ys [T, *batch, H]`, `mask [T, *batch]` → `[*batch, H]`. Zero for a sequence without a valid step.
    """
    if ys.shape[0] == 0:
        return jnp.zeros(ys.shape[1:], ys.dtype)
    if mask is None:
        return ys[0 if reverse else -1]
    end = jnp.argmax(mask, axis=0) if reverse else mask.shape[0] - 1 - jnp.argmax(mask[::-1], axis=0)
    picked = jnp.take_along_axis(ys, end[None, ..., None], axis=0)[0]
    return jnp.where(jnp.any(mask, axis=0)[..., None], picked, 0)


def mean_valid(ys: Array, mask: Array | None = None) -> Array:
    """Computes the mean output over each sequence's valid steps: `ys [T, *batch, H]`, `mask [T, *batch]` →
    `[*batch, H]`. Zero for a sequence without one. Summed in single precision at least, returned in the outputs'
    type."""
    wide = ys.astype(jnp.promote_types(ys.dtype, jnp.float32))
    if mask is None:
        mask = jnp.ones(ys.shape[:-1], bool)
    count = jnp.maximum(jnp.sum(mask, axis=0), 1)
    return (jnp.sum(jnp.where(mask[..., None], wide, 0), axis=0) / count[..., None]).astype(ys.dtype)
