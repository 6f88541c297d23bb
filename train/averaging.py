"""Averaged parameters: what the last updates have in common."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ParameterAverage(NamedTuple):
    """The mean of the parameters after the last `averaged` updates; themselves before there is one."""

    step: jax.Array
    averaged: jax.Array
    mean: Any


def average_parameters(start: int) -> optax.GradientTransformation:
    """Changes no update, and remembers the mean of the parameters after each from the `start`-th, counted from 0:

        θ̄ = 1/(n − start) Σ_{k=start+1}^{n} θ_k

    Averaged SGD: Polyak & Juditsky 1992; for language models Merity, Keskar & Socher 2018. It must come last in a
    chain, where updates are what is added to the parameters.
    """

    def init(params: Any) -> ParameterAverage:
        # A copy: the state and the parameters are given away together, and must not share memory.
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
