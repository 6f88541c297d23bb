"""Checks of what a loss function returned, as it is traced: one sentence in place of an error within JAX."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from train.state import PyTree, leaf_name

OWN_METRICS = ("loss", "grad_norm", "clipped_norm", "update_norm", "param_norm", "learning_rate", "finite")


def check_names(metrics: Mapping[str, Any]) -> None:
    """Raises ValueError where a metric bears a name of the step's own."""
    for name in metrics:
        if name in OWN_METRICS:
            raise ValueError(
                f"the loss function's metric {name!r} has a name of the train step's own; rename it"
            )


def check_pairs(pairs: Mapping[str, Any]) -> None:
    """Raises ValueError where loss or metric isn't a pair of scalars."""
    for name, pair in pairs.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(
                f"the loss function's {name!r} must be a pair (sum, count), as the losses of `train` give, "
                f"but is {pair}"
            )
        if any(jnp.shape(value) != () for value in pair):
            shapes = ", ".join(str(jnp.shape(value)) for value in pair)
            raise ValueError(
                f"the loss function's {name!r} has sum and count of shapes {shapes}; reduce both to scalars"
            )


def check_carry(new: PyTree, old: PyTree) -> None:
    """Raises ValueError where the carry came back in another form."""
    if jax.tree.structure(new) != jax.tree.structure(old):
        raise ValueError(
            f"the loss function was given a carry of the form {jax.tree.structure(old)} "
            f"and returned {jax.tree.structure(new)}; return what it was given"
        )
    for (path, before), after in zip(jax.tree.leaves_with_path(old), jax.tree.leaves(new), strict=True):
        if (jnp.shape(before), jnp.result_type(before)) != (jnp.shape(after), jnp.result_type(after)):
            raise ValueError(
                f"the carry's leaf {leaf_name(path) or 'itself'} is {jax.typeof(before)} before the step and "
                f"{jax.typeof(after)} after it; its shape and dtype must not change"
            )
