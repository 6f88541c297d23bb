"""The step Jacobian of a cell of the product form with an elementwise local part, in closed form.

With r = e(s) R and s' = p(s, d, r), where e and p mix no units, their derivatives are diagonal, and a few
directional derivatives give them: one for each leaf of the state and each gate. For leaves l, m of the state and
gates g,

    ∂s'_m/∂s_l = diag(∂p_m/∂s_l) + Σ_g diag(∂p_m/∂r_g) R_gᵀ diag(∂e/∂s_l),

L² blocks `[H, H]` that cost a few multiplications per entry, while forward mode takes S products with R.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from models.cell import Array, Cell, Drive, ProductCell, State, Weights
from models.state import ravel_coordinates


def has_closed_form(cell: Cell, weights: Weights, state: State, drive: Drive) -> bool:
    """Returns True if `closed_form` is the Jacobian of this cell's step: the cell is declared elementwise, its
    state consists of units, and the form agrees with a directional derivative of the step at random numbers."""
    if not (isinstance(cell, ProductCell) and cell.has_product_form() and cell.elementwise):
        return False
    coordinates = jax.tree.leaves(jax.eval_shape(cell.coordinates, state))
    leaves = [leaf for leaf in coordinates if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    shapes = {(leaf.shape, leaf.dtype) for leaf in leaves}
    if len(shapes) != 1 or len(leaves[0].shape) != 1 or jnp.issubdtype(leaves[0].dtype, jnp.complexfloating):
        return False
    arguments = (weights, state, drive)
    return matches_directional_derivative(
        cell,
        jax.tree.structure(arguments),
        tuple((leaf.shape, jnp.dtype(leaf.dtype)) for leaf in jax.tree.leaves(arguments)),
    )


@lru_cache(maxsize=256)
def matches_directional_derivative(
    cell: ProductCell, structure: Any, leaves: tuple[tuple[tuple[int, ...], Any], ...]
) -> bool:
    """Compares the closed form with a directional derivative, for leaves of these shapes and types: without the
    test, a cell wrongly declared `elementwise` would get a wrong Jacobian silently."""
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...], dtype: Any) -> Any:
        if not jnp.issubdtype(dtype, jnp.inexact):
            return np.zeros(shape, dtype)
        return (rng.uniform(0.1, 0.9, shape) * rng.choice([-1, 1], shape)).astype(dtype)

    weights, state, drive = jax.tree.unflatten(structure, [draw(*leaf) for leaf in leaves])
    with jax.ensure_compile_time_eval():
        weights, state, drive = jax.tree.map(jnp.asarray, (weights, state, drive))
        # A normaliser is positive.
        state = jax.tree.map(jnp.abs, state)
        vector, restore = ravel_coordinates(cell, state)
        if gate_matrices(cell.recurrent_matrix(weights)).shape[2] != jax.tree.leaves(state)[0].size:
            return False
        direction = jnp.asarray(draw(vector.shape, vector.dtype))

        @jax.jit
        def compare(weights: Weights, state: State, drive: Drive) -> tuple[Array, Array]:
            def step(vector: Array) -> Array:
                return ravel_coordinates(cell, cell.step(weights, restore(vector), drive)[0])[0]

            form = closed_form(cell, gate_matrices(cell.recurrent_matrix(weights)), weights, state, drive)
            return form @ direction, jax.jvp(step, (vector,), (direction,))[1]

        found, expected = (np.asarray(side, np.float64) for side in compare(weights, state, drive))
    tolerance = 100 * float(jnp.finfo(vector.dtype).eps) * (1 + np.abs(expected).max())
    return bool(np.isfinite(found).all() and np.abs(found - expected).max() <= tolerance)


def gate_matrices(matrix: Array) -> Float[Array, "G H H"]:
    """Returns R_gᵀ for every gate, from R `[H, G·H]` or block-diagonal `[N, H/N, G·H/N]`."""
    blocks = matrix[None] if matrix.ndim == 2 else matrix
    count, width, columns = blocks.shape
    # An exact product with I is a transposition that XLA can't defer: deferred into the loop over the entries of
    # the Jacobians, it would read R with a stride every time.
    eye = jnp.eye(count * width, dtype=matrix.dtype)
    by_gate = blocks.reshape(count, width, columns // width, width)
    rows = jnp.einsum("njgi,nm->njgmi", by_gate, jnp.eye(count, dtype=matrix.dtype), precision="highest")
    transposed = jnp.einsum("ab,bc->ca", eye, rows.reshape(count * width, -1), precision="highest")
    return transposed.reshape(columns // width, count * width, count * width)


def closed_form(
    cell: ProductCell,
    gates: Float[Array, "G H H"],
    weights: Weights,
    state: State,
    drive: Drive,
) -> Float[Array, "S S"]:
    """Computes ∂s'/∂s of one step, in the order of `ravel_coordinates`; `gates` are `gate_matrices(R)`."""
    vector, restore = ravel_coordinates(cell, state)
    gate_count, size, _ = gates.shape
    leaf_count = vector.size // size
    r = cell.product(weights, state)
    block_count = cell.recurrent_matrix(weights).shape[0] if cell.recurrent_matrix(weights).ndim == 3 else 1

    def local(vector: Array, r: Array) -> Float[Array, "L H"]:
        stepped, _ = cell.pointwise(weights, restore(vector), drive, r)
        return ravel_coordinates(cell, stepped)[0].reshape(leaf_count, size)

    def recurrent_input(vector: Array) -> Array:
        return cell.recurrent_input(weights, restore(vector))

    # One direction for each leaf of the state and each gate: ones in all its units, zeros elsewhere.
    leaf_directions = jnp.repeat(jnp.eye(leaf_count, dtype=vector.dtype), size, axis=1)
    gate_directions = jnp.tile(
        jnp.repeat(jnp.eye(gate_count, dtype=r.dtype), size // block_count, axis=1), (1, block_count)
    )
    p_s = jax.vmap(lambda v: jax.jvp(lambda s: local(s, r), (vector,), (v,))[1], out_axes=1)(leaf_directions)
    p_r = jax.vmap(lambda v: jax.jvp(lambda r: local(vector, r), (r,), (v,))[1], out_axes=1)(gate_directions)
    e_s = jax.vmap(lambda v: jax.jvp(recurrent_input, (vector,), (v,))[1])(leaf_directions)

    # Without the barrier XLA would recompute the activations for every entry of the matrix.
    p_s, p_r, e_s = jax.lax.optimization_barrier((p_s, p_r, e_s))
    # Summed gate by gate: a product over so short an axis is slower.
    recurrent = sum(
        (p_r[:, g, :, None] * gates[g][None] for g in range(gate_count)),
        jnp.zeros((leaf_count, size, size), vector.dtype),
    )
    blocks = recurrent[:, :, None, :] * e_s[None, None]  # [m, i, l, j]
    direct = p_s.transpose(0, 2, 1)[..., None] * jnp.eye(size, dtype=vector.dtype)[None, :, None, :]
    return (blocks + direct).reshape(leaf_count * size, leaf_count * size)
