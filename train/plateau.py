"""A learning rate that falls where the validation loss has stopped falling."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
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


def scale_rate(opt_state: Any, falls: int, factor: float) -> Any:
    """The optimizer's memory with the scale that so many falls leave; else as it was."""
    before = optax.tree.get(opt_state, "scale")
    scale = jnp.asarray(factor**falls, before.dtype)
    return optax.tree.set(opt_state, scale=jax.device_put(scale, before.sharding))


@dataclass
class Watch:
    """Counts how often the rate has fallen: each time `patience` evaluations in a row were no better than the best.

    An evaluation costs the same however many were seen before it.
    """

    patience: int
    falls: int = 0
    best: float = math.inf
    waited: int = 0

    def see(self, losses: Iterable[float]) -> "Watch":
        """Takes the next losses in; one that isn't finite is no better than any."""
        for loss in losses:
            if loss < self.best:
                self.best, self.waited = loss, 0
                continue
            self.waited += 1
            if self.waited == self.patience:
                self.waited, self.falls = 0, self.falls + 1
        return self
