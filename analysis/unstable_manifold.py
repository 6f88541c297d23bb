"""The unstable manifold of a saddle: the trajectories that leave it along its most unstable direction."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from analysis.fixed_points import jacobians, step_map
from analysis.threads import one_blas_thread
from models.cell import Array, Cell, Params, check_at_least


@one_blas_thread
def unstable_manifold(
    cell: Cell,
    params: Params,
    x: Float[Array, " D"],
    points: Float[np.ndarray, "P S"],
    *,
    steps: int = 200,
    push: float = 1e-3,
) -> Float[np.ndarray, "P 2 points S"]:
    """Computes, for each fixed point s*, the trajectories under constant input x from s* ± `push`·v.

    v is the unit eigenvector of ∂F/∂s for the eigenvalue of largest modulus (its real part if it is complex). For a
    saddle with one unstable direction these two are the whole unstable manifold; they end at the points whose
    basins the saddle separates. `points` are states of real leaves in the order of `ravel_state`, as
    `FixedPoints.states`. Sussillo & Barak 2013 follow them in the same way.
    """
    check_at_least(1, steps=steps)
    states = jnp.asarray(points)
    if not len(points):
        return np.zeros((0, 2, steps + 1, points.shape[1]))
    start = cell.initial_state(params)
    starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(points), *leaf.shape)), start)
    values, vectors = np.linalg.eig(np.asarray(jacobians(cell, params, x, states, starts), np.float64))
    leading = np.argmax(np.abs(values), axis=1)
    directions = np.real(vectors[np.arange(len(points)), :, leading])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sides = np.stack([points + push * directions, points - push * directions], axis=1)
    return np.asarray(follow(cell, steps, params, x, jnp.asarray(sides, states.dtype)), np.float64)


@partial(jax.jit, static_argnums=(0, 1))
def follow(cell: Cell, steps: int, params: Params, x: Array, vectors: Array) -> Array:
    """Computes trajectories from states `[P, 2, S]`, which come first: `[P, 2, steps + 1, S]`."""
    step_of = step_map(cell, params, x, cell.initial_state(params))

    def step(vector: Array, _: None) -> tuple[Array, Array]:
        stepped = step_of(vector)
        return stepped, stepped

    def one(vector: Array) -> Array:
        _, later = jax.lax.scan(step, vector, length=steps)
        return jnp.concatenate([vector[None], later])

    return jax.vmap(jax.vmap(one))(vectors)
