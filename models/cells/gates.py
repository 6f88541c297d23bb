"""The nonlinearities of all gates, computed in one pass."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from models.cell import Array


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def squash(z: Array, sigmoid: tuple[bool, ...]) -> list[Array]:
    """Applies σ or tanh to each of the gates packed side by side: `z [..., G·H]` → G arrays `[..., H]`.

    As σ(z) = ½ tanh(½ z) + ½, one tanh over all of them is enough: tanh(k z) k + (1 − k) with k = ½ for σ and 1 for
    tanh. The barrier keeps XLA from recomputing them in each consumer: split first and computed one by one, a step
    takes several times as long on a CPU.
    """
    k = np.repeat([0.5 if gate else 1.0 for gate in sigmoid], z.shape[-1] // len(sigmoid))
    k = jnp.asarray(k.reshape((1,) * (z.ndim - 1) + (-1,)), z.dtype)
    return jnp.split(jax.lax.optimization_barrier(jnp.tanh(k * z) * k + (1 - k)), len(sigmoid), axis=-1)


@squash.defjvp
def squash_jvp(
    sigmoid: tuple[bool, ...], primals: tuple[Array], tangents: tuple[Array]
) -> tuple[list[Array], list[Array]]:
    """Computes the derivatives from the gates themselves: y (1 − y) for σ and 1 − y² for tanh.

    Autodiff would put a barrier into the backward pass too, where nothing is computed twice and it costs a pass.
    """
    (z,), (dz,) = primals, tangents
    ys = squash(z, sigmoid)
    dzs = jnp.split(dz, len(sigmoid), axis=-1)
    slopes = [y * (1 - y) if gate else 1 - y * y for y, gate in zip(ys, sigmoid, strict=True)]
    return ys, [slope * dz for slope, dz in zip(slopes, dzs, strict=True)]
