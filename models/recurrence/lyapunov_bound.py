"""A test of whether a recurrence forgets fast enough for its steps to be taken all at once.

λ₁, the largest Lyapunov exponent, decides it: two trajectories part or meet as e^{λ₁ t}, and Newton's method over
time takes a handful of rounds where λ₁ is far below 0 and ever more as it nears it. Gonzalez et al. 2025,
"Predictability enables parallelization of nonlinear state space models".
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Drive, State, Weights
from models.recurrence.linearised import in_vectors
from models.state import ravel_coordinates

STEPS = 256  # over which an exponent is measured


def expected_rounds(exponent: Any) -> Any:
    """Rounds of Newton's method for λ₁ in nats per step, a number or an array: 5 + 0.7/|λ₁|; ∞ from 0 on.

    A rough fit, within about a factor of two of what was counted: 5 rounds at −1.2, 6 or 7 at −0.55,
    10 to 16 at −0.25, 13 at −0.079, 11 to 16 at −0.049, 40 at −0.02.
    """
    if isinstance(exponent, float | int):
        return 5 + 0.7 / -exponent if exponent < 0 else math.inf
    return jnp.where(exponent < 0, 5 - 0.7 / jnp.where(exponent < 0, exponent, -1.0), jnp.inf)


def largest_exponent(
    cell: Cell, weights: Weights, state: State, drive: Drive, mask: Array | None, batch_shape: BatchShape
) -> Array:
    """λ₁ `[*batch]` in the cell's coordinates, from `state [*batch, ...]`: the mean logarithm by which one random
    direction grows over the first STEPS steps, but for masked ones, those from a state that has not `begun`, and of
    the others the first tenth, and at least one. A direction that is lost is replaced by a random one. 0 where no
    step counts. As rough as one short run is; no gradient."""
    pack, restore, step = in_vectors(cell, state, batch_shape)
    into, out_of, begun = in_coordinates(cell, batch_shape)
    inputs = jax.tree.map(lambda leaf: leaf[:STEPS], (drive, mask))
    start = pack(state)
    fresh = jax.random.normal(jax.random.key(0), into(state).shape, start.dtype)

    def grow(
        carry: tuple[Array, Array], inputs: tuple[Drive, Array | None]
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        (before, direction), (_, valid) = carry, inputs
        like = restore(before)
        counts = begun(like) if valid is None else begun(like) & valid

        def following(z: Array) -> tuple[Array, Array]:
            after = step(weights, pack(out_of(z, like)), *inputs)
            return into(restore(after)), after

        _, turned, after = jax.jvp(following, (into(like),), (direction,), has_aux=True)
        size = jnp.sqrt(jnp.sum(turned**2, axis=-1, keepdims=True))
        turned = jnp.where(size > 0, turned / jnp.where(size > 0, size, 1.0), fresh)
        direction = jnp.where(counts[..., None], turned, direction)
        return (after, direction), (jnp.where(counts, jnp.log(size[..., 0]), 0.0), counts)

    growth, counts = jax.lax.scan(grow, (start, fresh), inputs)[1]
    order = jnp.cumsum(counts, axis=0)
    counts &= order > jnp.maximum(1, order[-1] // 10)
    return jax.lax.stop_gradient(
        jnp.sum(growth, axis=0, where=counts) / jnp.maximum(jnp.sum(counts, axis=0), 1)
    )


def in_coordinates(
    cell: Cell, batch_shape: BatchShape
) -> tuple[Callable[[State], Array], Callable[[Array, State], State], Callable[[State], Array]]:
    """State `[*batch, ...]` → coordinates `[*batch, S]`, at least in single precision; back, close to a state; and
    whether each state has `begun`, `[*batch]`."""

    def into(state: State) -> Array:
        vector = ravel_coordinates(cell, state)[0]
        return vector.astype(jnp.promote_types(vector.dtype, jnp.float32))

    def out_of(vector: Array, like: State) -> State:
        return ravel_coordinates(cell, like)[1](vector)

    begun = cell.begun
    for _ in batch_shape:
        into, out_of, begun = jax.vmap(into), jax.vmap(out_of), jax.vmap(begun)
    return into, out_of, begun


def check_exponent(exponent: Any, of: str) -> None:
    """Raises ValueError where `exponent` is neither a number, nor "measure", nor None."""
    number = isinstance(exponent, float | int) and not math.isnan(exponent)
    if not (number or exponent is None or exponent == "measure"):
        raise ValueError(
            f"{of}'s lyapunov is the largest exponent, a number in nats per step, or 'measure', but is {exponent!r}"
        )
