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

from models.cell import Array, Drive

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
    step: Callable[[Array, Drive, Array | None], Array], start: Array, drive: Drive, mask: Array | None
) -> Array:
    """λ₁ `[*batch]` of `step` on vectors `[*batch, S]`: the mean logarithm by which one random direction grows over
    the first STEPS steps, the first tenth of them, and at least one, not counted; a direction that is lost is
    replaced by a random one. As rough as one short run is; no gradient."""
    inputs = jax.tree.map(lambda leaf: leaf[:STEPS], (drive, mask))
    fresh = jax.random.normal(jax.random.key(0), start.shape, start.dtype)

    def grow(
        carry: tuple[Array, Array], inputs: tuple[Drive, Array | None]
    ) -> tuple[tuple[Array, Array], Array]:
        before, direction = carry
        after, direction = jax.jvp(lambda s: step(s, *inputs), (before,), (direction,))
        size = jnp.sqrt(jnp.sum(direction**2, axis=-1, keepdims=True))
        direction = jnp.where(size > 0, direction / jnp.where(size > 0, size, 1.0), fresh)
        return (after, direction), jnp.log(size[..., 0])

    growth = jax.lax.scan(grow, (start, fresh), inputs)[1]
    # The first step may have nothing before it (an mLSTM's), and so no growth.
    uncounted = min(max(1, len(growth) // 10), len(growth) - 1)
    return jax.lax.stop_gradient(jnp.mean(growth[uncounted:], axis=0))


def check_exponent(exponent: Any, of: str) -> None:
    """Raises ValueError where `exponent` is neither a number, nor "measure", nor None."""
    number = isinstance(exponent, float | int) and not math.isnan(exponent)
    if not (number or exponent is None or exponent == "measure"):
        raise ValueError(
            f"{of}'s lyapunov is the largest exponent, a number in nats per step, or 'measure', but is {exponent!r}"
        )
