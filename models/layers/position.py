"""Positions of steps in their sequence: codes added to the inputs, and rotations of queries and keys.

Positions count the valid steps of each example from 0, so padding takes none, wherever it stands.
"""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from models.cell import Array, Key

Position = Literal["none", "sinusoidal", "learned", "rotary"]
WAVELENGTHS = 10_000.0  # the longest wavelength over 2π, as Vaswani et al. chose it
BOUNDED = ("sinusoidal", "learned")  # codes that reach as far as the context only


def check_position(position: str) -> None:
    """Raises ValueError for an unknown kind of position."""
    if position not in get_args(Position):
        raise ValueError(f"unknown position {position!r}: there are {', '.join(get_args(Position))}")


def count_valid(steps: int, start: Array, mask: Array | None) -> Array:
    """Returns each step's position `[steps, *batch]`, counted from `start [*batch]`; at a masked step that of
    the valid step before it."""
    if mask is None:
        counted = jnp.arange(steps, dtype=start.dtype).reshape((steps,) + (1,) * start.ndim)
    else:
        counted = jnp.cumsum(mask, axis=0, dtype=start.dtype) - 1
    return counted + start[None]


def sinusoids(context: int, size: int) -> Array:
    """Returns the codes of positions 0 … context − 1, `[context, N]`, N = `size`:

        p_{t,2i} = sin(t ω_i)        p_{t,2i+1} = cos(t ω_i)        ω_i = 10000^(−2i/N)

    Vaswani et al. 2017.
    """
    angles = jnp.arange(context)[:, None] * frequencies(size)[None]
    pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return pairs.reshape(context, -1)[:, :size].astype(jnp.result_type(float))


def frequencies(size: int) -> Array:
    """Returns ω_i = 10000^(−2i/N) for i < N/2, `[⌈N/2⌉]`, N = `size`."""
    return jnp.exp(-math.log(WAVELENGTHS) * jnp.arange(0, size, 2) / max(size, 1))


def initial_codes(position: Position, key: Key, context: int, size: int) -> dict[str, Array]:
    """Draws the parameters of codes: `codes [context, N]`, N(0, 0.02²) as in GPT-2, for learned ones; else
    none."""
    if position != "learned":
        return {}
    return {"codes": 0.02 * jax.random.normal(key, (context, size))}


def add_codes(
    position: Position, params: dict[str, Array], x: Array, positions: Array, context: int
) -> Array:
    """Adds to `x [..., N]` the codes of `positions [...]`; NaN from position `context` on, for which there is
    none.

    Without codes (none, rotary) x is returned as it is.
    """
    if position not in BOUNDED:
        return x
    codes = params["codes"] if position == "learned" else sinusoids(context, x.shape[-1])
    rows = jnp.take(codes, jnp.clip(positions, 0, context - 1), axis=0)
    return x + jnp.where((positions < context)[..., None], rows, jnp.nan).astype(x.dtype)


def rotate(x: Array, positions: Array) -> Array:
    """Rotates each pair (x_i, x_{i+N/2}) of `x [..., N]` by t ω_i, t = `positions [...]`, so that the product
    of a rotated query and a rotated key depends on the difference of their positions only.

    Rotary position embedding: Su et al. 2021, with the pairs a half apart, as in GPT-NeoX.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    angles = positions[..., None].astype(wide) * frequencies(x.shape[-1]).astype(wide).reshape(
        (1,) * positions.ndim + (-1,)
    )
    sin, cos = jnp.sin(angles), jnp.cos(angles)
    a, b = jnp.split(x.astype(wide), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x.dtype)


def check_length(position: Position, steps: int, context: int, name: str) -> None:
    """Raises ValueError if codes that end with the context are to serve more steps."""
    if position in BOUNDED and steps > context:
        raise ValueError(
            f"a {name} has {position} codes for {context} positions, but the sequence has {steps} steps: give it "
            f"context={steps}, or position='rotary' or 'none'"
        )
