"""Numbers drawn from raw bits: the same on every machine."""

import jax
import jax.numpy as jnp


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws multiples of 2⁻²⁴ uniform in [0, 1): 24 bits fit a float32's significand, so nothing is rounded."""
    bits = jax.random.bits(key, shape, jnp.uint32)
    return (bits >> jnp.uint32(8)).astype(jnp.float32) * jnp.float32(2**-24)


def integers(key: jax.Array, shape: tuple[int, ...], low: int, high: int) -> jax.Array:
    """Draws int32 in low … high−1: exactly uniform for a power of two, else to a relative (high − low)/2³².

    `jax.random.randint` doesn't guarantee that its algorithm stays the same.
    """
    bits = jax.random.bits(key, shape, jnp.uint32)
    return (bits % jnp.uint32(high - low)).astype(jnp.int32) + jnp.int32(low)


def check_sizes(batch_size: int, name: str, size: int, least: int, reason: str) -> None:
    """Raises ValueError for a batch without examples, and for a size below the least that a task needs."""
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: a batch has at least 1 example.")
    if size < least:
        raise ValueError(f"{name} is {size}: this task needs at least {least}, since {reason}.")
