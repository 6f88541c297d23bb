"""Complex numbers of real parameters: optimizers know real leaves alone, so a complex matrix is kept as two."""

import jax
import jax.numpy as jnp
from jaxtyping import Complex, Float

from models.cell import Array, affine


def complex_type(dtype: jnp.dtype) -> jnp.dtype:
    """The complex type that goes with a real one; at least single precision, for there is none of half."""
    return jnp.promote_types(dtype, jnp.complex64)


def join(real: Float[Array, "..."], imaginary: Float[Array, "..."]) -> Complex[Array, "..."]:
    """real + i·imaginary."""
    dtype = jnp.promote_types(real.dtype, jnp.float32)
    return jax.lax.complex(real.astype(dtype), imaginary.astype(dtype))


def enter(
    x: Float[Array, "... D"], real: Float[Array, "D N"], imaginary: Float[Array, "D N"]
) -> Complex[Array, "... N"]:
    """x B for real x and B = real + i·imaginary, as one real product."""
    return join(*jnp.split(affine(x, jnp.concatenate([real, imaginary], axis=-1)), 2, axis=-1))


def leave(
    state: Complex[Array, "... N"], real: Float[Array, "N H"], imaginary: Float[Array, "N H"]
) -> Float[Array, "... H"]:
    """Re(s C) for complex s and C = real + i·imaginary, as one real product."""
    parts = jnp.concatenate([state.real, state.imag], axis=-1)
    return affine(parts, jnp.concatenate([real, -imaginary], axis=0))


def modrelu(z: Array, bias: Float[Array, " H"]) -> Array:
    """max(|z| + b, 0) z/|z| for real or complex `z [..., H]`: the size is cut, sign or phase stays.
    Arjovsky, Shah & Bengio 2016."""
    size = jnp.abs(z)
    direction = z / jnp.where(size > 0, size, 1) if jnp.iscomplexobj(z) else jnp.sign(z)
    return direction * jax.nn.relu(size + jnp.broadcast_to(bias, size.shape))
