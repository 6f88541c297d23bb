"""Figures that combine: a sum and a count, of valid places only."""

import jax
import jax.numpy as jnp
import numpy as np

from models.token_ids import check_ids, is_in_vocabulary

Array = jax.Array | np.ndarray

SumCount = tuple[jax.Array, jax.Array]
"""The sum of a quantity over valid places and their number, both float32 `[]`; add both up, then divide."""


def mean(pair: SumCount) -> jax.Array:
    """Sum / count; zero, and with it the gradient, where nothing counts."""
    total, count = pair
    return total / jnp.maximum(count, 1)


def accuracy(logits: Array, targets: Array, mask: Array | None = None) -> SumCount:
    """Counts the valid places that have their largest logit at the target.

    Args:
        logits: `[B, V]` or `[T, B, V]`.
        targets: integers `[B]` or `[T, B]`; one outside 0 … V−1 at a valid place gives NaN under `jit`.
        mask: booleans of the targets' shape, True where a place counts; all of them by default.

    Raises:
        ValueError: the shapes don't fit, or a concrete target of a valid place is outside 0 … V−1.
    """
    check_targets(logits, targets)
    mask = full_mask(mask, targets.shape)
    targets, known = valid_targets(logits, targets, mask)
    return masked_sum(jnp.where(known, jnp.argmax(logits, axis=-1) == targets, jnp.nan), mask)


def masked_sum(values: Array, mask: Array) -> SumCount:
    """Sum and number of the values where the mask, of their shape, is True; NaN elsewhere is not seen."""
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return jnp.sum(jnp.where(mask, values, 0)), jnp.sum(mask, dtype=jnp.float32)


def full_mask(mask: Array | None, shape: tuple[int, ...]) -> Array:
    """The mask itself once its shape is checked, or one that is True everywhere."""
    if mask is None:
        return jnp.ones(shape, bool)
    if mask.shape != shape:
        raise ValueError(f"the mask has shape {mask.shape} and what it masks {shape}; they must be equal")
    if mask.dtype != bool:
        raise ValueError(f"the mask is {mask.dtype}; it must be boolean, True where a place counts")
    return mask


def valid_targets(logits: Array, targets: Array, mask: Array) -> tuple[jax.Array, jax.Array]:
    """The targets, 0 where they are masked or outside 0 … V−1, and where they are not outside.

    Raises ValueError where a concrete target of a valid place is outside.
    """
    targets, size = jnp.where(mask, targets, 0), logits.shape[-1]
    check_ids(targets, size, "targets")
    known = is_in_vocabulary(targets, size)
    return jnp.where(known, targets, 0), known


def check_targets(logits: Array, targets: Array) -> None:
    """Logits `[…, V]` go with integer targets `[…]`."""
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {logits.shape} need targets of shape {logits.shape[:-1]}, not {targets.shape}"
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(f"targets are {targets.dtype}; class numbers must be integers")
