"""Parameters and states of any cell drawn at random, biases too, without compiling its `init`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models import Cell


def parameters(cell: Cell, input_size: int, seed: int = 0, scale: float = 1.0) -> Any:
    """Every leaf from N(0, scale²), of JAX's default floating type."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: cell.init(key, input_size), jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype), shapes)


def states(cell: Cell, params: Any, batch_shape: tuple[int, ...] = (), seed: int = 1) -> Any:
    """A state that isn't the initial one."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), shapes)
