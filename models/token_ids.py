"""Token ids: those outside 0 … V−1 are refused where they can be seen, and give NaN where they can't."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float, Int

from models.cell import Array


def embedded(table: Float[Array, "V E"], ids: Int[Array, "*shape"], *, what: str = "inputs") -> Array:
    """Rows of the table, `[*shape, E]`; NaN for an id outside 0 … V−1 under `jit`.

    Raises ValueError for a concrete id outside.
    """
    check_ids(ids, table.shape[0], what)
    return jnp.take(table, beyond_if_outside(ids, table.shape[0]), axis=0, mode="fill", fill_value=jnp.nan)


def beyond_if_outside(ids: Array, size: int) -> Array:
    """The ids with V = `size` for those below 0, which would count from the end: for an index in mode "fill"."""
    return jnp.where(ids < 0, size, ids)


def is_known(ids: Array, size: int) -> Array:
    """Tells where an id is one of 0 … V−1, V = `size`."""
    return (ids >= 0) & (ids < size)


def check_ids(ids: Any, size: int, what: str) -> None:
    """Raises ValueError where a concrete id is outside 0 … V−1, V = `size`; what `jit` traces can't be seen."""
    if isinstance(ids, Tracer) or (isinstance(ids, jax.Array) and not ids.is_fully_addressable):
        return
    seen = np.asarray(ids)
    outside = seen[(seen < 0) | (seen >= size)]
    if outside.size:
        raise ValueError(
            f"the {what} are ids of 0 … {size - 1}, but {outside[0]} is among them: mask it, or map it to one that "
            "there is"
        )
