"""Gates side by side, squashed in one go."""

import jax
import jax.numpy as jnp
import numpy as np

from models.cell import Array


def squash(z: Array, sigmoid: tuple[bool, ...]) -> list[Array]:
    """σ or tanh of each of the gates packed side by side: `z [..., G·H]` → G arrays `[..., H]`.

    As σ(z) = ½ tanh(½ z) + ½, one tanh over all of them serves: tanh(k z) k + (1 − k) with k = ½ for σ and 1 for
    tanh. Split first and squashed one by one, a step of 4 × 64 units took 100 µs on a CPU core against 19 µs: XLA
    fuses what it may, and computes each gate anew in every place that reads it. The barrier forbids that.
    """
    size = z.shape[-1] // len(sigmoid)
    k = np.repeat([0.5 if gate else 1.0 for gate in sigmoid], size).reshape((1,) * (z.ndim - 1) + (-1,))
    k = jnp.asarray(k, z.dtype)
    gates = jax.lax.optimization_barrier(jnp.tanh(k * z) * k + (1 - k))
    return jnp.split(gates, len(sigmoid), axis=-1)
