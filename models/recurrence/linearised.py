"""The building blocks of `models/recurrence/newton.py`: a cell's steps as one function of vectors for all times at
once, its Jacobians, and the linear recurrence with them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Drive, State, Weights
from models.state import ravel_state

Vectors = Array  # states as real vectors, [T, *batch, S]
Blocks = Array  # [T, *batch, n, m, m]: a full Jacobian is one block of size S, a diagonal one is S blocks of size 1


def vector_maps(
    cell: Cell, state: State, batch_shape: BatchShape
) -> tuple[Callable[[State], Array], Callable[[Array], State], Callable[..., Array]]:
    """Returns three maps: state `[*batch, ...]` → vectors `[*batch, S]`, in single precision at least; its inverse;
    and the step on vectors, (weights, s_{t−1}, d_t, valid) → s_t, which keeps masked states.

    The step sees the whole batch, since weights may depend on it (a dropout mask for each example).
    """
    one = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[len(batch_shape) :], leaf.dtype), state)
    restore = ravel_state(one)[1]

    def pack(state: State) -> Array:
        vector = ravel_state(state)[0]
        return vector.astype(jnp.promote_types(vector.dtype, jnp.float32))

    for _ in batch_shape:
        pack, restore = jax.vmap(pack), jax.vmap(restore)

    def step(weights: Weights, before: Array, drive: Drive, valid: Array | None) -> Array:
        stepped = pack(cell.step(weights, restore(before), drive)[0])
        return stepped if valid is None else jnp.where(valid[..., None], stepped, before)

    return pack, restore, step


def shift_states(start: Array, vectors: Vectors) -> Vectors:
    """Returns the state before each step: s_0 … s_{T−1}."""
    return jnp.concatenate([start[None], vectors[:-1]])


def step_blocks(every_step: Callable[[Vectors], Vectors], before: Vectors, jacobian: str) -> Blocks:
    """Computes J_t for all t: one direction of the state for all steps and examples at once, then the next."""
    _, push = jax.linearize(every_step, before)
    size = before.shape[-1]

    def column(direction: Array) -> Array:
        return push(jnp.zeros_like(before).at[...].set(direction))

    if jacobian == "full":
        return jax.vmap(column, out_axes=-1)(jnp.eye(size, dtype=before.dtype))[..., None, :, :]

    def entry(i: Array) -> Array:
        return column(jax.nn.one_hot(i, size, dtype=before.dtype))[..., i]

    return jnp.moveaxis(jax.lax.map(entry, jnp.arange(size)), 0, -1)[..., None, None]


def linear_recurrence(a: Blocks, b: Array, *, reverse: bool = False) -> Array:
    """Solves x_t = a_t x_{t−1} + b_t from x_0 = 0, or x_{T+1} = 0 in reverse: `b [T, *batch, n, m, 1]`."""

    def product(a: Array, b: Array) -> Array:
        return a * b if a.shape[-1] == 1 else a @ b

    def compose(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        (a1, b1), (a2, b2) = first, second
        return product(a2, a1), product(a2, b1) + b2

    return jax.lax.associative_scan(compose, (a, b), reverse=reverse)[1]
