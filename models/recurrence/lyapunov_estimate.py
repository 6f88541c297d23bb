"""A test of whether a recurrence is stable enough to be solved in parallel over time.

λ₁, the largest Lyapunov exponent, decides: the distance of two trajectories grows as e^{λ₁ t}, and Newton's method
over time takes a few rounds if λ₁ is far below 0 and more and more as it approaches 0. Gonzalez et al. 2025,
"Predictability enables parallelization of nonlinear state space models".
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Drive, State, Weights
from models.recurrence.linearised import vector_maps
from models.state import ravel_coordinates

STEPS = 256  # over which an exponent is measured


def expected_rounds(exponent: Any) -> Any:
    """Estimates the rounds of Newton's method for λ₁ in nats per step, a number or an array: 5 + 0.7/|λ₁|; ∞ from
    0.

    A rough fit, within about a factor of two of the measured counts: 5 rounds at −1.2, 6 or 7 at −0.55,
    10 to 16 at −0.25, 13 at −0.079, 11 to 16 at −0.049, 40 at −0.02.
    """
    if isinstance(exponent, float | int):
        return 5 + 0.7 / -exponent if exponent < 0 else math.inf
    return jnp.where(exponent < 0, 5 - 0.7 / jnp.where(exponent < 0, exponent, -1.0), jnp.inf)


def largest_exponent(
    cell: Cell, weights: Weights, state: State, drive: Drive, mask: Array | None, batch_shape: BatchShape
) -> Array:
    """Estimates λ₁ `[*batch]` in the cell's coordinates, from `state [*batch, ...]`.

    It is the mean logarithmic growth of one random direction over the first STEPS steps. Masked steps, steps from a
    state without coordinates, and the first tenth of the others (at least one) are left out. A direction that
    vanishes is replaced by the random one. 0 if no step counts. A rough estimate from one short run; no gradient.
    """
    pack, restore, step = vector_maps(cell, state, batch_shape)
    to_coordinates, from_coordinates, has_coordinates = coordinate_maps(cell, batch_shape)
    inputs = jax.tree.map(lambda leaf: leaf[:STEPS], (drive, mask))
    start = pack(state)
    random_direction = jax.random.normal(jax.random.key(0), to_coordinates(state).shape, start.dtype)

    def grow(
        carry: tuple[Array, Array], inputs: tuple[Drive, Array | None]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        (before, direction), (_, valid) = carry, inputs
        like = restore(before)
        counts = has_coordinates(like) if valid is None else has_coordinates(like) & valid

        def advance(z: Array) -> tuple[Array, Array]:
            after = step(weights, pack(from_coordinates(z, like)), *inputs)
            return to_coordinates(restore(after)), after

        _, pushed, after = jax.jvp(advance, (to_coordinates(like),), (direction,), has_aux=True)
        size = jnp.sqrt(jnp.sum(pushed**2, axis=-1, keepdims=True))
        pushed = jnp.where(size > 0, pushed / jnp.where(size > 0, size, 1.0), random_direction)
        direction = jnp.where(counts[..., None], pushed, direction)
        return (after, direction), (jnp.where(counts, jnp.log(size[..., 0]), 0.0), counts)

    growth, counts = jax.lax.scan(grow, (start, random_direction), inputs)[1]
    rank = jnp.cumsum(counts, axis=0)
    counts &= rank > jnp.maximum(1, rank[-1] // 10)
    return jax.lax.stop_gradient(
        jnp.sum(growth, axis=0, where=counts) / jnp.maximum(jnp.sum(counts, axis=0), 1)
    )


def coordinate_maps(
    cell: Cell, batch_shape: BatchShape
) -> tuple[Callable[[State], Array], Callable[[Array, State], State], Callable[[State], Array]]:
    """Returns three maps: state `[*batch, ...]` → coordinates `[*batch, S]`, in single precision at least; back,
    close to a given state; and whether each state has coordinates, `[*batch]`."""

    def to_coordinates(state: State) -> Array:
        vector = ravel_coordinates(cell, state)[0]
        return vector.astype(jnp.promote_types(vector.dtype, jnp.float32))

    def from_coordinates(vector: Array, like: State) -> State:
        return ravel_coordinates(cell, like)[1](vector)

    has_coordinates = cell.has_coordinates
    for _ in batch_shape:
        to_coordinates, from_coordinates, has_coordinates = (
            jax.vmap(to_coordinates),
            jax.vmap(from_coordinates),
            jax.vmap(has_coordinates),
        )
    return to_coordinates, from_coordinates, has_coordinates


def check_exponent(exponent: Any, of: str) -> None:
    """Raises ValueError if `exponent` is neither a number, nor "measure", nor None."""
    number = isinstance(exponent, float | int) and not math.isnan(exponent)
    if not (number or exponent is None or exponent == "measure"):
        raise ValueError(
            f"{of}'s lyapunov is the largest exponent, a number in nats per step, or 'measure', but is {exponent!r}"
        )
