"""Token ids: those outside 0 … V−1 raise ValueError if they are concrete, and give NaN under `jit`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, Int

from models.cell import Array


def embed(table: Float[Array, "V E"], ids: Int[Array, "*shape"], *, what: str = "inputs") -> Array:
    """Looks up rows of the table, `[*shape, E]`; NaN for an id outside 0 … V−1 under `jit`.

    Raises ValueError for a concrete id outside.
    """
    check_ids(ids, table.shape[0], what)
    return jnp.take(table, mark_negative(ids, table.shape[0]), axis=0, mode="fill", fill_value=jnp.nan)


def mark_negative(ids: Array, size: int) -> Array:
    """Replaces negative ids, which would index from the end, by V = `size`, which mode "fill" treats as outside."""
    return jnp.where(ids < 0, size, ids)


def is_in_vocabulary(ids: Array, size: int) -> Array:
    """Returns True where an id is in 0 … V−1, V = `size`."""
    return (ids >= 0) & (ids < size)


def check_ids(ids: Any, size: int, what: str) -> None:
    """Raises ValueError if a concrete id is outside 0 … V−1, V = `size`. Ids traced by `jit` aren't checked."""
    if isinstance(ids, Tracer) or (isinstance(ids, jax.Array) and not ids.is_fully_addressable):
        return
    seen = np.asarray(ids)
    outside = seen[(seen < 0) | (seen >= size)]
    if outside.size:
        raise ValueError(
            f"the {what} are ids of 0 … {size - 1}, but {outside[0]} is among them: mask it, or map it to a "
            "known one"
        )
