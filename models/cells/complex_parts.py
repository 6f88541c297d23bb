"""Complex arithmetic on real parameters: optimizers need real leaves, so a complex matrix is stored as two."""

import jax
import jax.numpy as jnp
from jaxtyping import Complex, Float

from models.cell import Array, affine


def complex_type(dtype: jnp.dtype) -> jnp.dtype:
    """Returns the complex type for a real one; at least single precision, as there is no half-precision one."""
    return jnp.promote_types(dtype, jnp.complex64)


def to_complex(real: Float[Array, "..."], imaginary: Float[Array, "..."]) -> Complex[Array, "..."]:
    """Returns real + i·imaginary."""
    dtype = jnp.promote_types(real.dtype, jnp.float32)
    return jax.lax.complex(real.astype(dtype), imaginary.astype(dtype))


def complex_affine(
    x: Float[Array, "... D"], real: Float[Array, "D N"], imaginary: Float[Array, "D N"]
) -> Complex[Array, "... N"]:
    """Computes x B for real x and B = real + i·imaginary, as one real product."""
    return to_complex(*jnp.split(affine(x, jnp.concatenate([real, imaginary], axis=-1)), 2, axis=-1))


def real_affine(
    state: Complex[Array, "... N"], real: Float[Array, "N H"], imaginary: Float[Array, "N H"]
) -> Float[Array, "... H"]:
    """Computes Re(s C) for complex s and C = real + i·imaginary, as one real product."""
    parts = jnp.concatenate([state.real, state.imag], axis=-1)
    return affine(parts, jnp.concatenate([real, -imaginary], axis=0))


def modrelu(z: Array, bias: Float[Array, " H"]) -> Array:
    """Computes max(|z| + b, 0) z/|z| for real or complex `z [..., H]`: rectifies the modulus, keeps sign or phase.
    Arjovsky, Shah & Bengio 2016."""
    size = jnp.abs(z)
    direction = z / jnp.where(size > 0, size, 1) if jnp.iscomplexobj(z) else jnp.sign(z)
    return direction * jax.nn.relu(size + jnp.broadcast_to(bias, size.shape))
