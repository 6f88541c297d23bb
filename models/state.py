"""A state as one real vector, and back."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Params, State


def ravel_state(state: State) -> tuple[Array, Callable[[Array], State]]:
    """The state of one example as a real vector `[S]`, and the function that makes a state of such a vector.

    Real leaves count once in S, complex ones twice (real parts, then imaginary parts); integer and boolean leaves
    (a step counter, the last token) are not part of the vector and come back as they were.
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
    """The cell's coordinates of a state of one example as a real vector `[S]`, and the function that makes a state
    of such a vector, close to this one: `ravel_state` where the coordinates are the state itself."""
    vector, restore = ravel_state(cell.coordinates(state))
    return vector, lambda vector: cell.from_coordinates(restore(vector), state)


def begins_empty(cell: Cell, params: Params) -> bool:
    """Tells whether the cell's initial state has no coordinates yet (`Cell.begun`), whatever the parameters'
    values, which may be traced."""
    with jax.ensure_compile_time_eval():
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)
        return not bool(cell.begun(cell.initial_state(zeros)))


def coordinates_size(cell: Cell, state: State) -> int:
    """S, the length of the vector of coordinates, without making it."""
    return jax.eval_shape(lambda state: ravel_state(cell.coordinates(state))[0], state).size


def written_once(cell: Cell, state: State) -> bool:
    """Returns True where a state can be written in one way only: its coordinates are as many numbers as it has."""
    return coordinates_size(cell, state) == state_size(state)


def state_size(state: State) -> int:
    """S, the length of the state's vector, without making it."""
    inexact = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return sum(leaf.size * (2 if jnp.iscomplexobj(leaf) else 1) for leaf in inexact)


def as_real(leaf: Array) -> Array:
    """A real or complex array as a real vector."""
    flat = leaf.ravel()
    return jnp.concatenate([flat.real, flat.imag]) if jnp.iscomplexobj(leaf) else flat


def from_real(vector: Array, like: Array) -> Array:
    """The inverse of `as_real` for an array of the shape and type of `like`."""
    if jnp.iscomplexobj(like):
        real, imaginary = jnp.split(vector, 2)
        return jax.lax.complex(real, imaginary).reshape(like.shape).astype(like.dtype)
    return vector.reshape(like.shape).astype(like.dtype)
