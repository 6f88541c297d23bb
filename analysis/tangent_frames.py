"""A frame of directions propagated along a trajectory by tangent maps, without collapsing onto one direction."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from models.cell import Array, Cell, Drive, State, Weights
from models.state import ravel_coordinates

Frame = Float[Array, "S k"]
Push = Callable[[Array], Array]  # maps a frame [S, k] to J or Jᵀ times it


def tangent_step(cell: Cell, weights: Weights, state: State, drive: Drive) -> tuple[State, Push, Push]:
    """Returns s_t, and functions that multiply a frame by J_t and by its transpose, in the cell's coordinates; J_t
    itself is never formed."""
    vector, restore = ravel_coordinates(cell, state)

    def step(vector: Array) -> Array:
        return ravel_coordinates(cell, cell.step(weights, restore(vector), drive)[0])[0]

    _, push = jax.linearize(step, vector)
    pull = jax.linear_transpose(push, vector)
    stepped, _ = cell.step(weights, state, drive)
    along_columns = partial(jax.vmap, in_axes=1, out_axes=1)
    return stepped, along_columns(push), along_columns(lambda v: pull(v)[0])


def qr_factors(w: Frame) -> tuple[Frame, Float[Array, " k"]]:
    """Factors W = Q R, and returns Q and the diagonal of R."""
    q, r = jnp.linalg.qr(w)
    return q, jnp.diagonal(r)


def lu_factors(w: Frame) -> tuple[Frame, Float[Array, " k"]]:
    """Factors W = (PᵀL) U with row pivoting, so that no entry of L exceeds 1; returns PᵀL and the diagonal of U."""
    factors, _, order = jax.lax.linalg.lu(w)
    lower = jnp.tril(factors, -1) + jnp.eye(*w.shape, dtype=w.dtype)
    return jnp.zeros_like(lower).at[order].set(lower, unique_indices=True), jnp.diagonal(factors)


def advance(
    push: Push, frame: Frame, orthonormal: Bool[Array, ""]
) -> tuple[Frame, Float[Array, " k"], Bool[Array, " k"]]:
    """Propagates a frame by one step, factored by QR if `orthonormal`, else by LU. Returns it, ln of the growth of
    each direction orthogonal to those before it, and whether that growth is below the rounding of the largest. A
    lost direction is replaced by a random one, as that from the factorisation may be confined to a part of the
    state."""
    w = push(frame)
    frame, diagonal = jax.lax.cond(orthonormal, qr_factors, lu_factors, w)
    growth = jnp.abs(diagonal)
    largest = jnp.sqrt(jnp.max(jnp.sum(w**2, axis=0), initial=0.0))
    rounding = len(w) * float(jnp.finfo(w.dtype).eps) * largest
    below_rounding = growth <= rounding
    # Directions after a lost one are lost too, so no growth depends on their replacements.
    lost = jnp.where(orthonormal, below_rounding, growth == 0)
    frame = jax.lax.cond(jnp.any(lost), replace_lost, lambda frame, *_: frame, frame, lost, orthonormal)
    return frame, jnp.log(growth), below_rounding


def replace_lost(frame: Frame, lost: Bool[Array, " k"], orthonormal: Bool[Array, ""]) -> Frame:
    """Replaces lost directions of a frame by random ones."""
    random = jax.random.normal(jax.random.key(1), frame.shape, frame.dtype)
    frame = jnp.where(lost[None], random, frame)
    return jax.lax.cond(orthonormal, lambda frame: jnp.linalg.qr(frame)[0], lambda frame: frame, frame)
