"""Metrics that add: a sum and a count over valid entries."""

import jax
import jax.numpy as jnp
import numpy as np

from models.token_ids import check_ids, is_in_vocabulary

Array = jax.Array | np.ndarray

SumCount = tuple[jax.Array, jax.Array]
"""The sum of a quantity over valid entries and their number, both float32 `[]`; add both, then divide."""


def mean(pair: SumCount) -> jax.Array:
    """Computes sum / count; zero, with a zero gradient, if the count is zero."""
    total, count = pair
    return total / jnp.maximum(count, 1)


def accuracy(logits: Array, targets: Array, mask: Array | None = None) -> SumCount:
    """Counts the valid entries whose largest logit is that of the target.

    Args:
        logits: `[B, V]` or `[T, B, V]`.
        targets: integers `[B]` or `[T, B]`; one outside 0 … V−1 at a valid entry gives NaN under `jit`.
        mask: booleans of the targets' shape, True for valid entries; all by default.

    Raises:
        ValueError: the shapes don't fit, or a concrete target at a valid entry is outside 0 … V−1.
    """
    check_targets(logits, targets)
    mask = full_mask(mask, targets.shape)
    targets, known = valid_targets(logits, targets, mask)
    return masked_sum(jnp.where(known, jnp.argmax(logits, axis=-1) == targets, jnp.nan), mask)


def masked_sum(values: Array, mask: Array) -> SumCount:
    """Computes sum and number of the values where the mask, of their shape, is True; ignores NaN elsewhere."""
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return jnp.sum(jnp.where(mask, values, 0)), jnp.sum(mask, dtype=jnp.float32)


def full_mask(mask: Array | None, shape: tuple[int, ...]) -> Array:
    """Returns the mask after checking it, or one that is True everywhere. Raises ValueError if it doesn't fit."""
    if mask is None:
        return jnp.ones(shape, bool)
    if mask.shape != shape:
        raise ValueError(f"the mask has shape {mask.shape}, but must have {shape}")
    if mask.dtype != bool:
        raise ValueError(f"the mask is {mask.dtype}; it must be boolean, True for valid entries")
    return mask


def valid_targets(logits: Array, targets: Array, mask: Array) -> tuple[jax.Array, jax.Array]:
    """Returns the targets, 0 where they are masked or outside 0 … V−1, and a mask of those inside.

    Raises ValueError if a concrete target at a valid entry is outside.
    """
    targets, size = jnp.where(mask, targets, 0), logits.shape[-1]
    check_ids(targets, size, "targets")
    known = is_in_vocabulary(targets, size)
    return jnp.where(known, targets, 0), known


def check_targets(logits: Array, targets: Array) -> None:
    """Raises ValueError unless logits are `[…, V]` and targets are integers `[…]`."""
    if logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"logits of shape {logits.shape} need targets of shape {logits.shape[:-1]}, not {targets.shape}"
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(f"targets are {targets.dtype}; class ids must be integers")
