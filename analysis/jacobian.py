"""Jacobians of single steps along a trajectory, and their spectra."""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Complex, Float

from analysis.closed_form import closed_form, gate_matrices, has_closed_form
from analysis.products import real_matrices
from analysis.threads import one_blas_thread
from models.cell import Array, Cell, Drive, Params, ProductCell, State
from models.checks import one_sequence
from models.recurrence.free_memory import check_memory, vmapped
from models.recurrence.scan import states_before
from models.state import coordinates_size, ravel_coordinates

JacobianMethod = Literal["auto", "forward"]


def step_jacobians(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    state: State | None = None,
    *,
    mask: Bool[Array, " T"] | None = None,
    method: JacobianMethod = "auto",
) -> Float[Array, "V S S"]:
    """Computes J_t = ∂s_t / ∂s_{t−1} along the trajectory driven by the inputs: `xs [T, D]` → `[V, S, S]`, V = T.

    It is exact and of the whole state: (h, c) for an LSTM, in the order of the state's leaves; complex numbers
    count as two real ones, integer leaves don't count. If a state has several representations (xLSTM), it is
    taken in the cell's `coordinates`, and zero at the first step if the initial state has none. `state` is s_0,
    by default the cell's initial state. For several sequences: `jax.vmap(partial(step_jacobians, cell, params),
    in_axes=1)(xs)`. Uses the closed form of `analysis/closed_form.py` if the cell has one, otherwise forward mode
    (S directional derivatives), which is many times slower; `method="forward"` forces it. Memory: T·S² numbers.

    Masked steps (`mask [T]` False), whose Jacobian would be the identity, are left out, and V counts the others.

    Raises ValueError if twice that memory, for all sequences of a `vmap`, isn't free; if parameters, inputs,
    state or mask don't fit; for an unknown method; and for a mask under `jit` or `vmap`, where V isn't known.

    Examples:
        >>> cell = LSTM(4)
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> step_jacobians(cell, params, jnp.ones((7, 3))).shape  # (h, c) has 8 numbers
        (7, 8, 8)
    """
    if method not in get_args(JacobianMethod):
        raise ValueError(f"unknown method {method!r}: there are {' and '.join(get_args(JacobianMethod))}")
    xs, state = one_sequence(cell, params, xs, state, mask)
    length, size = xs.shape[0], coordinates_size(cell, state)
    count = vmapped(xs)
    sequences = "" if count == 1 else f" of {count} sequences"
    check_memory(
        2 * count * length * size**2 * jnp.finfo(jnp.result_type(float, *jax.tree.leaves(state))).bits // 8,
        f"the Jacobians [T, S, S] = [{length}, {size}, {size}]{sequences} and a copy of them",
        "leading_singular_values or lyapunov_spectrum(…, k=…), which form none, or fewer steps at once",
    )
    return all_jacobians(cell, method, params, xs, state)


@partial(jax.jit, static_argnums=(0, 1))
def all_jacobians(
    cell: Cell, method: JacobianMethod, params: Params, xs: Array, state: State
) -> Float[Array, "T S S"]:
    """Computes `step_jacobians` without checks."""
    weights = cell.prepare(params)
    drive = cell.drive(weights, xs)
    states = states_before(cell, weights, state, drive)
    first = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), drive)
    if method == "auto" and has_closed_form(cell, weights, state, first):
        assert isinstance(cell, ProductCell)
        gates = gate_matrices(cell.recurrent_matrix(weights))
        return jax.vmap(partial(closed_form, cell, gates, weights))(states, drive)

    def jacobian(state: State, drive: Drive) -> Array:
        vector, restore = ravel_coordinates(cell, state)

        def step(vector: Array) -> Array:
            stepped, _ = cell.step(weights, restore(vector), drive)
            return ravel_coordinates(cell, stepped)[0]

        return jax.jacfwd(step)(vector)

    return jax.vmap(jacobian)(states, drive)


@one_blas_thread
def jacobian_eigenvalues(jacobians: Float[np.ndarray | Array, "*T S S"]) -> Complex[np.ndarray, "*T S"]:
    """Computes the eigenvalues of each step Jacobian, largest modulus first. In float64 on the host, as
    accelerators have no eigenvalue solver for nonsymmetric matrices.

    Examples:
        >>> jacobian_eigenvalues(np.array([[0.0, -0.5], [0.5, 0.0]])).round(2)  # a turn that shrinks by half
        array([0.+0.5j, 0.-0.5j])
    """
    eigenvalues = np.linalg.eigvals(real_matrices(jacobians)).astype(np.complex128)
    order = np.argsort(-np.abs(eigenvalues), axis=-1, kind="stable")
    return np.take_along_axis(eigenvalues, order, axis=-1)


def spectral_radius(jacobians: Float[np.ndarray | Array, "*T S S"]) -> Float[np.ndarray, "*T"]:
    """Computes the largest modulus of each step Jacobian's eigenvalues."""
    return np.abs(jacobian_eigenvalues(jacobians))[..., 0]


@one_blas_thread
def jacobian_singular_values(jacobians: Float[np.ndarray | Array, "*T S S"]) -> Float[np.ndarray, "*T S"]:
    """Computes natural logarithms of the singular values of each step Jacobian, largest first; −∞ for an exact
    zero. In float64 on the host. Those below 1e-16 of the largest are rounding errors. For products:
    `product_spectrum`."""
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.svd(real_matrices(jacobians), compute_uv=False))


def log_norms(
    log_singular_values: Float[np.ndarray, "*K S"], kind: Literal["spectral", "frobenius"] = "spectral"
) -> Float[np.ndarray, "*K"]:
    """Computes ln ‖J‖ from the logarithms of the singular values of steps (`jacobian_singular_values`) or products
    (`product_spectrum`): the largest, or the root of their sum of squares; without underflow or overflow."""
    if kind == "spectral":
        return np.asarray(np.max(log_singular_values, axis=-1))
    return np.asarray(np.logaddexp.reduce(2 * log_singular_values, axis=-1) / 2)


def log_condition_numbers(log_singular_values: Float[np.ndarray, "*K S"]) -> Float[np.ndarray, "*K"]:
    """Computes ln (σ_max / σ_min) of steps or products from the logarithms of their singular values: ∞ if one is
    0."""
    largest, smallest = np.max(log_singular_values, axis=-1), np.min(log_singular_values, axis=-1)
    singular = np.isneginf(smallest)
    return np.where(singular, np.inf, largest - np.where(singular, 0.0, smallest))
