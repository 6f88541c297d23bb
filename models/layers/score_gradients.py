"""Gradients of scores over many steps, as the scan of `models.recurrence.attentive` needs them."""

import math

import jax
import jax.numpy as jnp

from models.cell import Array, Params, affine
from models.layers.attention import Additive, Score
from models.recurrence.scan import match_varying_axes

SUM_SIZE = 2**18  # numbers whose sum over time stays in the second-level cache


def score_one(score: Score, params: Params, query: Array, keys: Array) -> Array:
    """Computes the scores `[*batch, L]` of one query `[*batch, Q]` and the keys `[*batch, L, A]`; an additive
    one with a backward pass that keeps nothing of size L·A."""
    if isinstance(score, Additive):
        return additive(affine(query, params["query"]), keys, params["readout"])
    return score(params, query[..., None, :], keys)[..., 0, :]


@jax.custom_vjp
def additive(query: Array, keys: Array, readout: Array) -> Array:
    """Computes e_l = wᵀ tanh(q + k_l): q `[*batch, A]`, k `[*batch, L, A]`, w `[A]` → `[*batch, L]`."""
    return jnp.tanh(query[..., None, :] + keys) @ readout


def _additive_forward(query: Array, keys: Array, readout: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return additive(query, keys, readout), (query, keys, readout)


def _additive_backward(residuals: tuple[Array, Array, Array], de: Array) -> tuple[Array, Array, Array]:
    """Computes q̄ = w ∘ Σ_l ē_l (1 − h_l²), k̄_l = w ∘ ē_l (1 − h_l²) and w̄ = Σ ē_l h_l, h_l = tanh(q + k_l).

    The sums over l are products, which are several times faster than XLA's sums."""
    query, keys, readout = residuals
    h = jnp.tanh(query[..., None, :] + keys)
    slope = 1 - h * h
    dquery = jnp.einsum("...l,...la->...a", de, slope) * expand(readout, query.ndim)
    dreadout = jnp.einsum("...l,...la->...a", de, h).reshape(-1, len(readout)).sum(axis=0)
    return dquery, de[..., None] * slope * expand(readout, keys.ndim), dreadout


additive.defvjp(_additive_forward, _additive_backward)


def expand(vector: Array, axes: int) -> Array:
    """Gives a vector so many axes, all but the last of size 1."""
    return vector.reshape((1,) * (axes - 1) + vector.shape)


def keys_cotangent(score: Score, params: Params, queries: Array, keys: Array, de: Array) -> Array:
    """Computes k̄ `[*batch, L, A]` from the queries `[T, *batch, Q]` and the cotangents `[T, *batch, L]` of the
    scores of all steps; at once, or, of an additive score, whose terms would fill T times the memory of the
    keys, summed step by step."""
    if isinstance(score, Additive):
        total = summed_slopes(affine(queries, params["query"]), keys, de)
        return total * expand(params["readout"], keys.ndim)
    queries, de = jnp.moveaxis(queries, 0, -2), jnp.moveaxis(de, 0, -2)
    return jax.vjp(lambda keys: score(params, queries, keys), keys)[1](de)[0]


def summed_slopes(queries: Array, keys: Array, de: Array) -> Array:
    """Computes Σ_t ē_tl (1 − tanh²(q_t + k_l)): q `[T, *batch, A]`, k `[*batch, L, A]`, ē `[T, *batch, L]`.

    So many examples at once that their sum stays in the cache."""
    batch_shape = queries.shape[1:-1]
    batch = math.prod(batch_shape)
    rows = max(1, min(batch, SUM_SIZE // max(1, math.prod(keys.shape[-2:]))))
    while batch % rows:
        rows -= 1

    def cut(leaf: Array, axis: int) -> Array:
        """Splits the batch, which begins at this axis, into blocks, which come first."""
        shape = (*leaf.shape[:axis], batch // rows, rows, *leaf.shape[axis + len(batch_shape) :])
        return jnp.moveaxis(leaf.reshape(shape), axis, 0)

    def block(given: tuple[Array, Array, Array]) -> Array:
        queries, keys, de = given

        def add(total: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
            query, de = given
            h = jnp.tanh(query[:, None] + keys)
            return total + (de[..., None] * (1 - h * h)).astype(total.dtype), None

        start = jnp.zeros(keys.shape, jnp.promote_types(keys.dtype, jnp.float32))
        start, queries, keys, de = match_varying_axes((start, queries, keys, de))
        return jax.lax.scan(add, start, (queries, de))[0].astype(keys.dtype)

    if not batch:
        return jnp.zeros_like(keys)
    return jax.lax.map(block, (cut(queries, 1), cut(keys, 0), cut(de, 1))).reshape(keys.shape)
