"""Clipping of gradients, built from Optax where it has it."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from train.optimizer.config import OptimizerConfig


def make_clipping(config: OptimizerConfig) -> optax.GradientTransformation:
    """Returns a stateless transformation that bounds gradients at c = `clip_at`; `update` needs the parameters.

    value: each entry into [−c, c];  block_rms: each array g / max(1, rms(g)/c), rms(g) = √(mean g²);
    block_norm: each array g · min(1, c/‖g‖);
    global_norm: all of them g · min(1, c/‖g‖), ‖g‖ over every entry of every array (Pascanu et al. 2013);
    adaptive: for the weights w into each unit, a column of a matrix `[in, units]` or of a block `[…, in, units]`,
    and for a vector as a whole, g · min(1, c max(‖w‖, 0.001)/‖g‖) (Brock, De, Smith & Simonyan 2021).
    """
    match config.clip:
        case "none":
            return optax.identity()
        case "value":
            return optax.clip(config.clip_at)
        case "block_rms":
            return optax.clip_by_block_rms(config.clip_at)
        case "block_norm":
            return clip_by_block_norm(config.clip_at)
        case "global_norm":
            return optax.clip_by_global_norm(config.clip_at)
        case "adaptive":
            return clip_by_unit(config.clip_at)


def clip_by_block_norm(bound: float) -> optax.GradientTransformation:
    """Clips each array g by itself: g · min(1, c/‖g‖)."""

    def clipped(gradient: jax.Array) -> jax.Array:
        norm = jnp.linalg.norm(gradient.ravel())
        return jnp.where(norm > bound, gradient * (bound / jnp.where(norm > bound, norm, 1.0)), gradient)

    def update(gradients: Any, params: Any) -> Any:
        del params
        return jax.tree.map(clipped, gradients)

    return optax.stateless(update)


def clip_by_unit(ratio: float, least: float = 1e-3) -> optax.GradientTransformation:
    """Clips the gradient g of the weights w into each unit: g · min(1, c max(‖w‖, least)/‖g‖).

    Unlike here, `optax.adaptive_grad_clip` treats a kernel `[1, units]` as a vector, and a block-diagonal one as
    that of a convolution.
    """

    def norms(leaf: jax.Array) -> jax.Array:
        return (
            jnp.linalg.norm(leaf, axis=-2, keepdims=True) if leaf.ndim > 1 else jnp.linalg.norm(leaf.ravel())
        )

    def clipped(gradient: jax.Array, weights: jax.Array) -> jax.Array:
        bound, norm = ratio * jnp.maximum(norms(weights), least), norms(gradient)
        return jnp.where(norm > bound, gradient * (bound / jnp.where(norm > bound, norm, 1.0)), gradient)

    return optax.stateless(lambda gradients, params: jax.tree.map(clipped, gradients, params))
