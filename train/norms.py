"""Norms of a step that are known without another sum over all parameters, each of which costs half an update."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from train.optimizer import OptimizerConfig


def norm_after_clipping(config: OptimizerConfig, norm: jax.Array, clipped: Any) -> jax.Array:
    """‖g‖ after clipping: clipped as a whole it is the bound at most; by parts it has to be summed."""
    match config.clip:
        case "none":
            return norm
        case "global_norm":
            return jnp.where(
                norm < config.clip_at, norm, jnp.asarray(config.clip_at, norm.dtype) * (norm / norm)
            )
    return optax.tree.norm(clipped)


def norm_of_update(config: OptimizerConfig, scaled: jax.Array, updates: Any) -> jax.Array:
    """‖u‖: in plain gradient descent the rate times the norm of the clipped gradient, `scaled`."""
    return scaled if config.name == "sgd" else optax.tree.norm(updates)
