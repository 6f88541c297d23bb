"""A state as one real vector, and back."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Params, State


def ravel_state(state: State) -> tuple[Array, Callable[[Array], State]]:
    """Returns the state of one example as a real vector `[S]`, and the function that maps a vector back to a state.

    Real leaves count once in S, complex ones twice (real parts, then imaginary parts); integer and boolean leaves
    (a step counter, the last token) are not part of the vector and are restored unchanged.
    """
    leaves, structure = jax.tree.flatten(state)
    pieces = [as_real(leaf) for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    vector = jnp.concatenate(pieces) if pieces else jnp.zeros(0)

    def restore(vector: Array) -> State:
        restored, start = [], 0
        for leaf in leaves:
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                stop = start + leaf.size * (2 if jnp.iscomplexobj(leaf) else 1)
                restored.append(from_real(vector[start:stop], leaf))
                start = stop
            else:
                restored.append(leaf)
        return jax.tree.unflatten(structure, restored)

    return vector, restore


def ravel_coordinates(cell: Cell, state: State) -> tuple[Array, Callable[[Array], State]]:
    """Returns the cell's coordinates of the state of one example as a real vector `[S]`, and the function that maps
    a nearby vector back to a state: `ravel_state` if the coordinates are the state itself."""
    vector, restore = ravel_state(cell.coordinates(state))
    return vector, lambda vector: cell.from_coordinates(restore(vector), state)


def starts_empty(cell: Cell, params: Params) -> bool:
    """Returns True if the cell's initial state has no coordinates yet (`Cell.has_coordinates`), whatever the values
    of the parameters, which may be traced."""
    with jax.ensure_compile_time_eval():
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
        return not bool(cell.has_coordinates(cell.initial_state(zeros)))


def coordinates_size(cell: Cell, state: State) -> int:
    """Returns S, the length of the vector of coordinates, without computing the vector."""
    return jax.eval_shape(lambda state: ravel_state(cell.coordinates(state))[0], state).size


def has_unique_coordinates(cell: Cell, state: State) -> bool:
    """Returns True if each state has one representation only: as many coordinates as numbers in the state."""
    return coordinates_size(cell, state) == state_size(state)


def state_size(state: State) -> int:
    """Returns S, the length of the state's vector, without computing the vector."""
    inexact = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum(leaf.size * (2 if jnp.iscomplexobj(leaf) else 1) for leaf in inexact)


def as_real(leaf: Array) -> Array:
    """Flattens a real or complex array to a real vector."""
    flat = leaf.ravel()
    return jnp.concatenate([flat.real, flat.imag]) if jnp.iscomplexobj(leaf) else flat


def from_real(vector: Array, like: Array) -> Array:
    """Inverts `as_real` for an array of the shape and type of `like`."""
    if jnp.iscomplexobj(like):
        real, imaginary = jnp.split(vector, 2)
        return jax.lax.complex(real, imaginary).reshape(like.shape).astype(like.dtype)
    return vector.reshape(like.shape).astype(like.dtype)
