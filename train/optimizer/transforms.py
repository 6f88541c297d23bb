"""Gradient transformations that Optax lacks: averaged parameters, and a rate that follows the validation loss."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ParameterAverage(NamedTuple):
    """The mean of the parameters after the last `averaged` updates; the parameters themselves before the first."""

    step: jax.Array
    averaged: jax.Array
    mean: Any


def average_parameters(start: int) -> optax.GradientTransformation:
    """Passes updates through, and averages the parameters after each update from the `start`-th, counted from 0:

        θ̄ = 1/(n − start) Σ_{k=start+1}^{n} θ_k

    Averaged SGD: Polyak & Juditsky 1992; for language models Merity, Keskar & Socher 2018. It must come last in a
    chain, where updates are added to the parameters.
    """

    def init(params: Any) -> ParameterAverage:
        # A copy: the state and the parameters are donated together, and must not share memory.
        return ParameterAverage(
            jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params)
        )

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, ParameterAverage]:
        count = jnp.where(state.step >= start, state.averaged + 1, 0)
        share = 1 / jnp.maximum(count, 1)
        mean = jax.tree.map(
            lambda m, p, u: (m + share.astype(m.dtype) * (p + u - m)).astype(m.dtype),
            state.mean,
            params,
            updates,
        )
        return updates, ParameterAverage(state.step + 1, count, mean)

    return optax.GradientTransformation(init, update)


class ScaleState(NamedTuple):
    """The factor on updates; set between steps by `scale_rate`."""

    scale: jax.Array


def scale_externally() -> optax.GradientTransformation:
    """Multiplies updates by a factor that only `scale_rate` changes, initially 1."""

    def init(params: Any) -> ScaleState:
        del params
        return ScaleState(jnp.ones((), jnp.float32))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda u: (state.scale * u).astype(u.dtype), updates), state

    return optax.GradientTransformation(init, update)


def scale_rate(opt_state: Any, falls: int, factor: float) -> Any:
    """Sets the factor of `scale_externally` in an optimizer's state to factor^falls."""
    before = optax.tree.get(opt_state, "scale")
    scale = jnp.asarray(factor**falls, before.dtype)
    return optax.tree.set(opt_state, scale=jax.device_put(scale, before.sharding))


@dataclass
class PlateauWatch:
    """Counts how often the rate has fallen: each time `patience` evaluations in a row didn't improve on the best.

    An update takes constant time.
    """

    patience: int
    falls: int = 0
    best: float = math.inf
    bad_evaluations: int = 0

    def update(self, losses: Iterable[float]) -> "PlateauWatch":
        """Adds the next losses; one that isn't finite is no improvement."""
        for loss in losses:
            if loss < self.best:
                self.best, self.bad_evaluations = loss, 0
                continue
            self.bad_evaluations += 1
            if self.bad_evaluations == self.patience:
                self.bad_evaluations, self.falls = 0, self.falls + 1
        return self
