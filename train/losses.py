"""Losses over the valid entries of a batch, as sum and count; `mean` of one is the loss to train on.

Values at masked entries, NaN included, affect neither the loss nor a gradient. `where` on the result isn't enough
for that (0 · NaN is NaN in the backward pass), so the inputs are replaced too.
"""

import jax.numpy as jnp
import optax

from train.metrics import Array, SumCount, check_targets, full_mask, masked_sum, valid_targets


def squared_error(predictions: Array, targets: Array, mask: Array | None = None) -> SumCount:
    """Computes Σ (y − t)² over the valid entries, and their number.

    Args:
        predictions: real, any shape: `[B]`, `[B, D]`, `[T, B, D]`, …
        targets: the same shape.
        mask: booleans over the leading axes, `[B]` or `[T, B]`, True for valid entries; all by default.

    Raises:
        ValueError: the shapes don't fit.
    """
    if predictions.shape != targets.shape:
        raise ValueError(
            f"predictions have shape {predictions.shape} and targets {targets.shape}; they must be equal"
        )
    leading = predictions.shape if mask is None else predictions.shape[: mask.ndim]
    mask = full_mask(mask, leading)
    mask = jnp.broadcast_to(
        mask.reshape(leading + (1,) * (predictions.ndim - len(leading))), predictions.shape
    )
    error = jnp.where(mask, predictions, 0) - jnp.where(mask, targets, 0)
    error = error.astype(jnp.promote_types(error.dtype, jnp.float32))
    return masked_sum(jnp.square(error), mask)


def cross_entropy(logits: Array, targets: Array, mask: Array | None = None) -> SumCount:
    """Computes Σ −log softmax(logits)[target] over the valid entries, in nats, and their number.

    Args:
        logits: `[B, V]` or `[T, B, V]`.
        targets: class ids `[B]` or `[T, B]`; one outside 0 … V−1 at a valid entry gives NaN under `jit`.
        mask: booleans of the targets' shape, True for valid entries; all by default.

    Raises:
        ValueError: the shapes don't fit, or a concrete target at a valid entry is outside 0 … V−1.
    """
    check_targets(logits, targets)
    mask = full_mask(mask, targets.shape)
    logits = jnp.where(mask[..., None], logits, 0)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    targets, known = valid_targets(logits, targets, mask)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return masked_sum(jnp.where(known, losses, jnp.nan), mask)
