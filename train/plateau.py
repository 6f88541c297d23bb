"""A learning rate that falls where the validation loss has stopped falling."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class Scaled(NamedTuple):
    """By how much updates are scaled; set between steps, by `slower`."""

    scale: jax.Array


def scaled_from_outside() -> optax.GradientTransformation:
    """Updates times a number that steps leave alone, 1 to begin with."""

    def init(params: Any) -> Scaled:
        del params
        return Scaled(jnp.ones((), jnp.float32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda u: (state.scale * u).astype(u.dtype), updates), state

    return optax.GradientTransformation(init, update)


def slower(opt_state: Any, losses: Sequence[float], patience: int, factor: float) -> Any:
    """The optimizer's memory with the scale that these losses, all so far, leave; else as it was."""
    before = optax.tree.get(opt_state, "scale")
    scale = jnp.asarray(factor ** falls(losses, patience), before.dtype)
    return optax.tree.set(opt_state, scale=jax.device_put(scale, before.sharding))


def falls(losses: Sequence[float], patience: int) -> int:
    """How often the rate has fallen after these evaluations: each time `patience` in a row were no better than the
    best. One that isn't finite is no better than any."""
    best, waited, count = math.inf, 0, 0
    for loss in losses:
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
            if waited == patience:
                waited, count = 0, count + 1
    return count
