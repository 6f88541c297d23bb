"""Maps whose Lyapunov exponents are known, as cells without input: what a measurement of exponents is tried on.

Each takes `xs [T, 0]`, as `lyapunov_spectrum(HenonMap(), {}, jnp.zeros((10_000, 0)))`; none has parameters. In
single precision chaos ends in short cycles: run them in double (`jax.enable_x64`).
"""

from dataclasses import dataclass

import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Params, Weights


@dataclass(frozen=True)
class Map(Cell):
    """s_t = f(s_{t−1}), y_t = s_t. Writes `start` and `apply`; the state is a vector `[*batch, S]`."""

    def init(self, key: Key, input_size: int) -> Params:
        """No parameters. Raises ValueError where there are inputs, which a map would ignore."""
        if input_size:
            raise ValueError(f"a {type(self).__name__} takes no input, but D is {input_size}")
        return {}

    @property
    def start(self) -> tuple[float, ...]:
        """s_0, a point from which the attractor is reached."""
        raise NotImplementedError(f"{type(self).__name__} has no start")

    def apply(self, state: Array) -> Array:
        """f, over the last axis."""
        raise NotImplementedError(f"{type(self).__name__} has no apply(state)")

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.broadcast_to(jnp.array(self.start), (*batch_shape, len(self.start)))

    def step(self, weights: Weights, state: Array, drive: Array) -> tuple[Array, Array]:
        state = self.apply(state)
        return state, state


@dataclass(frozen=True)
class CatMap(Map):
    """(x, y) → (2x + y, x + y) mod 1, Arnold's cat. λ = ±ln((3 + √5)/2) = ±0.962424."""

    @property
    def start(self) -> tuple[float, ...]:
        return (0.3, 0.4)

    def apply(self, state: Array) -> Array:
        x, y = state[..., 0], state[..., 1]
        return jnp.stack([2 * x + y, x + y], axis=-1) % 1


@dataclass(frozen=True)
class LogisticMap(Map):
    """x → r x (1 − x). At r = 4, λ = ln 2 (Ulam & von Neumann 1947); May 1976."""

    r: float = 4.0

    @property
    def start(self) -> tuple[float, ...]:
        return (0.3,)

    def apply(self, state: Array) -> Array:
        return self.r * state * (1 - state)


@dataclass(frozen=True)
class HenonMap(Map):
    """(x, y) → (1 − a x² + y, b x). Hénon 1976. λ = 0.4192, −1.6232 (Sprott 2003); Σλ = ln |b| exactly."""

    a: float = 1.4
    b: float = 0.3

    @property
    def start(self) -> tuple[float, ...]:
        return (0.1, 0.1)

    def apply(self, state: Array) -> Array:
        x, y = state[..., 0], state[..., 1]
        return jnp.stack([1 - self.a * x**2 + y, self.b * x], axis=-1)


@dataclass(frozen=True)
class Lorenz(Map):
    """x' = σ(y − x), y' = x(ρ − z) − y, z' = xy − βz, a step being one of Runge and Kutta's of length `dt`.

    Lorenz 1963. Per unit of time, that is, divided by `dt`: λ = 0.906, 0, −14.572 (Sprott 2003), and
    Σλ = −(σ + 1 + β).
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3
    dt: float = 0.01

    @property
    def start(self) -> tuple[float, ...]:
        return (1.0, 1.0, 20.0)

    def velocity(self, state: Array) -> Array:
        """The time derivative."""
        x, y, z = state[..., 0], state[..., 1], state[..., 2]
        return jnp.stack([self.sigma * (y - x), x * (self.rho - z) - y, x * y - self.beta * z], axis=-1)

    def apply(self, state: Array) -> Array:
        k1 = self.velocity(state)
        k2 = self.velocity(state + self.dt / 2 * k1)
        k3 = self.velocity(state + self.dt / 2 * k2)
        k4 = self.velocity(state + self.dt * k3)
        return state + self.dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
