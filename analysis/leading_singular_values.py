"""Leading singular values of long products of Jacobians, without forming a Jacobian.

Subspace iteration on PᵀP, P = J_T … J_1: a frame V is pushed forward by directional derivatives to P V = U R, and U
is pulled back by the transposed ones to Pᵀ U, whose orthonormalised columns are the next V. At every step the
frame is factored, W = Q R, so that P V = U R_T … R_1 with k×k triangles whose product `product_spectrum`
decomposes in logarithms. (Halko, Martinsson & Tropp 2011, matrix-free; Saad 2011.) Long products converge in a
round or two, since their singular values are far apart.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from analysis.products import product_spectrum
from analysis.tangent_frames import tangent_step
from models.cell import Array, Cell, Drive, Key, Params, State, Weights, check_at_least
from models.checks import one_sequence
from models.recurrence.scan import states_before
from models.state import coordinates_size, ravel_coordinates

OVERSAMPLING = 8  # extra directions: the k-th converges as (σ_{k+9} / σ_k)² per round


def leading_singular_values(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    state: State | None = None,
    *,
    mask: Bool[Array, " T"] | None = None,
    k: int,
    tolerance: float = 1e-3,
    rounds: int = 50,
    key: Key | None = None,
) -> Float[np.ndarray, " k"]:
    """Computes natural logarithms of the k largest singular values of J_T … J_1 = ∂s_T/∂s_0, largest first.

    They are those of the trajectory driven by `xs [T, D]` from `state`; for a lag K pass the last K inputs and the
    state before them. Memory: T (S + k²) numbers in place of T S². A round takes k + 8 directional derivatives
    forward and back; iteration ends when no logarithm changes by more than `tolerance` in a round, which is less
    than the remaining error if singular values are close together. −∞ stands for an exact zero.

    Masked steps (`mask [T]` False) are left out.

    Raises ValueError if parameters, inputs, state or mask don't fit, for k outside 1 … S, if a state isn't
    finite, and if `rounds` rounds don't suffice.
    """
    xs, state = one_sequence(cell, params, xs, state, mask)
    size = coordinates_size(cell, state)
    check_at_least(1, k=k, rounds=rounds)
    if k > size:
        raise ValueError(f"there are {size} singular values, one for each number in the state, but k is {k}")
    weights = cell.prepare(params)
    drive = cell.drive(weights, xs)
    before = jax.jit(states_before, static_argnums=0)(cell, weights, state, drive)
    width = min(size, k + OVERSAMPLING)
    dtype = ravel_coordinates(cell, state)[0].dtype
    key = jax.random.key(0) if key is None else key
    frame = jnp.linalg.qr(jax.random.normal(key, (size, width), dtype))[0]
    previous = np.full(k, np.nan)
    for _ in range(rounds):
        frame, triangles = subspace_round(cell, weights, before, drive, frame)
        found = product_spectrum(triangles, [len(xs)])[0, :k]
        finite = np.isfinite(found)
        if np.array_equal(finite, np.isfinite(previous)) and np.all(
            np.abs(found[finite] - previous[finite]) <= tolerance
        ):
            return found
        previous = found
    raise ValueError(
        f"the singular values still change by more than {tolerance} after {rounds} rounds: increase either"
    )


@partial(jax.jit, static_argnums=0, static_argnames="qr_every")
def subspace_round(
    cell: Cell,
    weights: Weights,
    before: State,
    drive: Drive,
    frame: Float[Array, "S k"],
    *,
    qr_every: int = 1,
) -> tuple[Float[Array, "S k"], Float[Array, "N k k"]]:
    """Performs one round, and returns the next frame and the triangles of the forward pass, one per `qr_every`
    steps, which must divide the length. Rarer QRs are cheaper, but lose directions whose growth between two
    differs by more than 1/ε."""
    blocks = jax.tree.map(lambda leaf: leaf.reshape(-1, qr_every, *leaf.shape[1:]), (before, drive))

    def multiply(direction: int, frame: Array, inputs: tuple[State, Drive]) -> tuple[Array, None]:
        return tangent_step(cell, weights, *inputs)[direction](frame), None

    def factor(direction: int, frame: Array, block: tuple[State, Drive]) -> tuple[Array, Array]:
        q, r = jnp.linalg.qr(
            jax.lax.scan(partial(multiply, direction), frame, block, reverse=direction == 2)[0]
        )
        return q, r

    frame, triangles = jax.lax.scan(partial(factor, 1), frame, blocks)
    frame, _ = jax.lax.scan(partial(factor, 2), frame, blocks, reverse=True)
    return frame, triangles
