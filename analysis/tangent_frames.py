"""A frame of directions carried along a trajectory by tangent maps, and kept from collapsing onto one."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from models.cell import Array, Cell, Drive, State, Weights
from models.state import ravel_coordinates

Frame = Float[Array, "S k"]
Push = Callable[[Array], Array]  # a frame [S, k] to J times it, or to Jᵀ times it


def tangent_step(cell: Cell, weights: Weights, state: State, drive: Drive) -> tuple[State, Push, Push]:
    """s_t, and the functions that multiply a frame by J_t and by its transpose, J_t in the cell's coordinates; J_t
    itself is never formed."""
    vector, restore = ravel_coordinates(cell, state)

    def step(vector: Array) -> Array:
        return ravel_coordinates(cell, cell.step(weights, restore(vector), drive)[0])[0]

    _, push = jax.linearize(step, vector)
    pull = jax.linear_transpose(push, vector)
    stepped, _ = cell.step(weights, state, drive)
    along_columns = partial(jax.vmap, in_axes=1, out_axes=1)
    return stepped, along_columns(push), along_columns(lambda v: pull(v)[0])


def by_qr(w: Frame) -> tuple[Frame, Float[Array, " k"]]:
    """W = Q R: Q, and the diagonal of R."""
    q, r = jnp.linalg.qr(w)
    return q, jnp.diagonal(r)


def by_lu(w: Frame) -> tuple[Frame, Float[Array, " k"]]:
    """W = (PᵀL) U, rows exchanged so that no entry of L exceeds 1: PᵀL, and the diagonal of U."""
    factors, _, order = jax.lax.linalg.lu(w)
    lower = jnp.tril(factors, -1) + jnp.eye(*w.shape, dtype=w.dtype)
    return jnp.zeros_like(lower).at[order].set(lower, unique_indices=True), jnp.diagonal(factors)


def advance(
    push: Push, frame: Frame, orthonormal: Bool[Array, ""]
) -> tuple[Frame, Float[Array, " k"], Bool[Array, " k"]]:
    """The frame a step later, orthonormal or only kept apart; ln of the growth of each direction beyond those
    before it; and whether that growth is below the rounding of the largest. A direction that is lost is replaced by
    a random one, for what a factorisation gives in its place may never leave a part of the state."""
    w = push(frame)
    frame, diagonal = jax.lax.cond(orthonormal, by_qr, by_lu, w)
    growth = jnp.abs(diagonal)
    largest = jnp.sqrt(jnp.max(jnp.sum(w**2, axis=0), initial=0.0))
    rounding = len(w) * float(jnp.finfo(w.dtype).eps) * largest
    small = growth <= rounding
    # Those after a lost one are lost too: the growth of none depends on what is put in their place.
    lost = jnp.where(orthonormal, small, growth == 0)
    frame = jax.lax.cond(jnp.any(lost), replaced, lambda frame, *_: frame, frame, lost, orthonormal)
    return frame, jnp.log(growth), small


def replaced(frame: Frame, lost: Bool[Array, " k"], orthonormal: Bool[Array, ""]) -> Frame:
    """The frame with random directions in place of the lost ones."""
    random = jax.random.normal(jax.random.key(1), frame.shape, frame.dtype)
    frame = jnp.where(lost[None], random, frame)
    return jax.lax.cond(orthonormal, lambda frame: jnp.linalg.qr(frame)[0], lambda frame: frame, frame)
