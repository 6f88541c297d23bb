"""Jacobians of single steps along a trajectory, and their eigenvalues."""

from functools import partial

import jax
import numpy as np
from jaxtyping import Complex, Float

from models.cell import Array, Cell, Drive, Params, State
from models.scan import states_before
from models.state import ravel_state


@partial(jax.jit, static_argnums=0)
def step_jacobians(
    cell: Cell, params: Params, xs: Float[Array, "T D"], state: State | None = None
) -> Float[Array, "T S S"]:
    """J_t = ∂s_t / ∂s_{t−1} along the trajectory that the inputs drive: `xs [T, D]` → `[T, S, S]`.

    Exact (forward mode), of the whole state: (h, c) for an LSTM, in the order of the state's leaves; a complex
    number counts as two real ones, an integer leaf doesn't count. `state` is s_0, the cell's initial state by
    default. For several sequences: `jax.vmap(partial(step_jacobians, cell, params), in_axes=1)(xs)`.
    Memory: T·S² numbers.
    """
    if state is None:
        state = cell.initial_state(params)
    weights = cell.prepare(params)
    drive = cell.drive(weights, xs)

    def jacobian(state: State, drive: Drive) -> Array:
        vector, restore = ravel_state(state)

        def step(vector: Array) -> Array:
            stepped, _ = cell.step(weights, restore(vector), drive)
            return ravel_state(stepped)[0]

        return jax.jacfwd(step)(vector)

    return jax.vmap(jacobian)(states_before(cell, weights, state, drive), drive)


def jacobian_eigenvalues(jacobians: Float[np.ndarray | Array, "*T S S"]) -> Complex[np.ndarray, "*T S"]:
    """The eigenvalues of each step Jacobian, largest modulus first. In float64 on the host: accelerators have no
    eigenvalue solver for matrices that aren't symmetric."""
    eigenvalues = np.linalg.eigvals(np.asarray(jacobians, np.float64)).astype(np.complex128)
    order = np.argsort(-np.abs(eigenvalues), axis=-1, kind="stable")
    return np.take_along_axis(eigenvalues, order, axis=-1)


def spectral_radius(jacobians: Float[np.ndarray | Array, "*T S S"]) -> Float[np.ndarray, "*T"]:
    """The largest modulus of each step Jacobian's eigenvalues."""
    return np.abs(jacobian_eigenvalues(jacobians))[..., 0]
