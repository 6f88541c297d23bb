"""Chrono initialisation: gate biases that spread the memories of a gated cell over the lags of a task."""

import jax
import jax.numpy as jnp

from models.cell import Array, Key


def chrono_bias(key: Key, size: int, max_lag: int) -> Array:
    """b = log U(1, T − 1) with T = `max_lag`: `[size]`, the bias of a gate that keeps. Tallec & Ollivier 2018.

    A gate of bias b and no other input keeps σ(b) = 1 − 1/(1 + eᵇ) of the memory a step, so that it lasts for
    1 + eᵇ = 2 … T steps, uniformly.
    """
    return jnp.log(jax.random.uniform(key, (size,), minval=1.0, maxval=max_lag - 1.0))
