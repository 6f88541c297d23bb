"""Parts of multi-head attention: splitting and joining heads, checks, dropout of weights."""

import jax
import jax.numpy as jnp

from models.cell import Array, Key, Params, affine, check_at_least
from models.initializers import Initializer, gate_blocks


def check_heads(heads: int, size: int, *, rotary: bool = False) -> None:
    """Raises ValueError if the heads don't divide the size, or a rotation finds no pairs in a head."""
    check_at_least(1, heads=heads, size=size)
    if size % heads:
        raise ValueError(f"the heads divide the size among them, but {heads} don't divide {size}")
    if rotary and (size // heads) % 2:
        raise ValueError(
            f"rotary positions turn pairs, but a head has {size // heads} numbers, an odd number: take another "
            "number of heads, or position='learned'"
        )


def packed(kernel_init: Initializer, key: Key, input_size: int, size: int, parts: int) -> dict[str, Array]:
    """Draws `parts` maps from D = `input_size` to `size` numbers, side by side: `kernel [D, parts·size]`, `bias
    [parts·size]`, the bias zero."""
    return {
        "kernel": gate_blocks(kernel_init, key, input_size, size, gates=parts),
        "bias": jnp.zeros(parts * size),
    }


def split_heads(x: Array, heads: int, parts: int = 1) -> list[Array]:
    """Cuts a sequence `[T, *batch, parts·N]` into its parts and each of these into heads:
    `[*batch, heads, T, N/heads]`, in which products over time are products of matrices."""
    cut = [part.reshape(*part.shape[:-1], heads, -1) for part in jnp.split(x, parts, axis=-1)]
    return [jnp.moveaxis(part, 0, -2) for part in cut]


def join_heads(x: Array) -> Array:
    """Inverts `split_heads`: `[*batch, heads, T, N/heads]` → `[T, *batch, N]`."""
    turned = jnp.moveaxis(x, -2, 0)
    return turned.reshape(*turned.shape[:-2], turned.shape[-2] * turned.shape[-1])


def project(params: Params, x: Array) -> Array:
    """Computes x W + b with `kernel` and `bias`."""
    return affine(x, params["kernel"], params["bias"])


def drop_weights(weights: Array, rate: float, key: Key | None) -> Array:
    """Drops attention weights in training, `[..., T, S]`: zero with probability p = `rate`, else α / (1 −
    p)."""
    if key is None:
        return weights
    keep = jax.random.bernoulli(key, 1 - rate, weights.shape)
    return jnp.where(keep, weights / (1 - rate), 0)
