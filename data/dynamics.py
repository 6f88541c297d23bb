"""Two chaotic systems, one sampling interval at a time: Mackey and Glass's delay equation, and Lorenz's.

A step is a smooth function of the whole state, so that its derivatives give the system's Lyapunov exponents.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

Array = jax.Array


@dataclass(frozen=True)
class MackeyGlass:
    """x'(t) = 0.2 x(t − τ) / (1 + x(t − τ)¹⁰) − 0.1 x(t), sampled every `interval`. Mackey & Glass 1977.

    Its state `[τ / inner + 2]` is x at t, t − inner, …, back to t − τ − inner. Each of the `interval / inner` steps
    of a sample is one of Runge and Kutta's method of order four, for which x is interpolated by a cubic in the
    middle between two points of the past. At τ = 17 it is weakly chaotic.
    """

    delay: float = 17.0
    interval: float = 6.0
    inner: float = 0.2

    @property
    def channels(self) -> int:
        """Returns the size of what is observed: x itself."""
        return 1

    def start(self, seed: int) -> np.ndarray:
        """Returns a state of one constant value between 0.8 and 1.4."""
        size = round(self.delay / self.inner) + 2
        return np.full(size, np.random.default_rng(seed).uniform(0.8, 1.4))

    def step(self, history: Float[Array, " S"]) -> Float[Array, " S"]:
        """Advances the state by one interval."""
        return jax.lax.fori_loop(0, round(self.interval / self.inner), self._inner_step, history)

    def observe(self, history: Float[Array, " S"]) -> Float[Array, "1"]:
        """Returns x(t)."""
        return history[:1]

    def _inner_step(self, _: Array, history: Array) -> Array:
        def slope(x: Array, delayed: Array) -> Array:
            return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

        later, end, begin, earlier = history[-4], history[-3], history[-2], history[-1]
        middle = (9 * (begin + end) - earlier - later) / 16
        x = runge_kutta(slope, history[0], (begin, middle, end), self.inner)
        return jnp.concatenate([x[None], history[:-1]])


@dataclass(frozen=True)
class Lorenz:
    """x' = 10 (y − x),  y' = x (28 − z) − y,  z' = x y − 8/3 z, sampled every `interval`. Lorenz 1963.

    Each of the `interval / inner` steps of a sample is one of Runge and Kutta's method of order four. All three
    numbers are observed."""

    interval: float = 0.1
    inner: float = 0.005

    @property
    def channels(self) -> int:
        """Returns the size of what is observed: x, y and z."""
        return 3

    def start(self, seed: int) -> np.ndarray:
        """Returns a state near the attractor."""
        return np.random.default_rng(seed).normal([0.0, 0.0, 25.0], 5.0)

    def step(self, state: Float[Array, "3"]) -> Float[Array, "3"]:
        """Advances the state by one interval."""

        def slope(state: Array, _: None) -> Array:
            x, y, z = state
            return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

        def inner_step(_: Array, state: Array) -> Array:
            return runge_kutta(slope, state, (None, None, None), self.inner)

        return jax.lax.fori_loop(0, round(self.interval / self.inner), inner_step, state)

    def observe(self, state: Float[Array, "3"]) -> Float[Array, "3"]:
        """Returns the state itself."""
        return state


System = MackeyGlass | Lorenz


def runge_kutta(
    slope: Callable[[Array, Any], Array], x: Array, drives: tuple[Any, Any, Any], step: float
) -> Array:
    """Advances x' = slope(x, drive) by one step of the classical method of order four; `drives` are the drive at
    the beginning, in the middle and at the end of the step."""
    begin, middle, end = drives
    k1 = slope(x, begin)
    k2 = slope(x + step / 2 * k1, middle)
    k3 = slope(x + step / 2 * k2, middle)
    k4 = slope(x + step * k3, end)
    return x + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def trajectory(system: System, steps: int, seed: int = 0, *, transient: int = 200) -> np.ndarray:
    """Returns `steps` samples `[steps, channels]` in double precision, and leaves out those of the transient."""
    with jax.enable_x64(True):
        return np.asarray(_observed(system, transient + steps, jnp.asarray(system.start(seed))))[transient:]


def settled(system: System, seed: int = 0, *, transient: int = 200) -> np.ndarray:
    """Returns the state after the transient, in double precision."""
    with jax.enable_x64(True):
        return np.asarray(_settled(system, transient, jnp.asarray(system.start(seed))))


@partial(jax.jit, static_argnums=(0, 1))
def _observed(system: System, steps: int, state: Array) -> Array:
    return jax.lax.scan(lambda s, _: (system.step(s), system.observe(s)), state, length=steps)[1]


@partial(jax.jit, static_argnums=(0, 1))
def _settled(system: System, steps: int, state: Array) -> Array:
    return jax.lax.fori_loop(0, steps, lambda _, s: system.step(s), state)
