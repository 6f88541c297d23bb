"""A batch in parts, one after another, whose gradients add up: a large batch in the memory of a small one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from train.sharding import batch_axes
from train.state import PyTree


def in_parts(batch: PyTree, parts: int) -> PyTree:
    """Splits the batch axis of every leaf, `[…, B, …]` → `[parts, …, B/parts, …]`; parts must divide B."""
    return jax.tree.map(lambda leaf, axis: split(leaf, axis, parts), batch, batch_axes(batch))


def split(leaf: Any, axis: int, parts: int) -> jax.Array:
    """Splits one axis of an array, and moves the number of the part to the front."""
    shape = jnp.shape(leaf)
    cut = jnp.reshape(leaf, (*shape[:axis], parts, shape[axis] // parts, *shape[axis + 1 :]))
    return jnp.moveaxis(cut, axis, 0)


def sum_over_parts(
    function: Callable[[PyTree, PyTree, jax.Array], tuple[PyTree, PyTree]],
    carry: PyTree,
    batch: PyTree,
    key: jax.Array,
    parts: int,
) -> tuple[PyTree, PyTree]:
    """Computes Σ_p f(carry_p, batch_p, key_p) over the parts of a batch, in single precision at least.

    Args:
        function: `(carry, batch, key) → (sums, carry)`.
        carry: leaves `[B, …]`, which go with their examples.
        batch: see `in_parts`.
        key: each part draws with its own, `fold_in(key, p)`.
        parts: their number; with 1 the batch is computed whole, with the key itself.

    Returns:
        The sums, and the carry of all examples.
    """

    def widened(*arguments: Any) -> tuple[PyTree, PyTree]:
        sums, carry = function(*arguments)
        return jax.tree.map(lambda s: s.astype(jnp.promote_types(s.dtype, jnp.float32)), sums), carry

    if parts == 1:
        return widened(carry, batch, key)
    carries = jax.tree.map(lambda leaf: split(leaf, 0, parts), carry)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(parts))
    inputs = (carries, in_parts(batch, parts), keys)
    form = jax.eval_shape(lambda xs: widened(*xs)[0], jax.tree.map(lambda leaf: leaf[0], inputs))

    def add(total: PyTree, xs: tuple[PyTree, PyTree, jax.Array]) -> tuple[PyTree, PyTree]:
        sums, carry = widened(*xs)
        return jax.tree.map(jnp.add, total, sums), carry

    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), form)
    total, carries = jax.lax.scan(add, zeros, inputs)
    return total, jax.tree.map(lambda leaf: jnp.reshape(leaf, (-1, *leaf.shape[2:])), carries)
