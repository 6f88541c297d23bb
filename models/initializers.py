"""Initialisers: frozen dataclasses that are called with a key and a shape.

`jax.nn.initializers` returns closures, which never compare equal, so each cell that held one would be compiled
again. These hold their hyperparameters as fields and call JAX's.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from models.cell import Array, Key


@dataclass(frozen=True)
class Initializer:
    """Draws a matrix `[rows, columns]` from a key; used as row vector times matrix, so rows is the fan-in."""

    def __call__(self, key: Key, shape: tuple[int, int], dtype: jnp.dtype | None = None) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no __call__(key, shape, dtype)")


@dataclass(frozen=True)
class Glorot(Initializer):
    """U(−a, a) with a = √(6 / (rows + columns)). Glorot & Bengio 2010."""

    def __call__(self, key: Key, shape: tuple[int, int], dtype: jnp.dtype | None = None) -> Array:
        if 0 in shape:  # a map without input
            return jnp.zeros(shape, dtype)
        return jax.nn.initializers.glorot_uniform()(key, shape, dtype)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """`gain` times a uniformly distributed orthogonal matrix. Saxe, McClelland & Ganguli 2014."""

    gain: float = 1.0

    def __call__(self, key: Key, shape: tuple[int, int], dtype: jnp.dtype | None = None) -> Array:
        if 0 in shape:  # a map without input
            return jnp.zeros(shape, dtype)
        return jax.nn.initializers.orthogonal(self.gain)(key, shape, dtype)


@dataclass(frozen=True)
class Identity(Initializer):
    """`gain` times the identity. Le, Jaitly & Hinton 2015."""

    gain: float = 1.0

    def __call__(self, key: Key, shape: tuple[int, int], dtype: jnp.dtype | None = None) -> Array:
        return self.gain * jnp.eye(*shape, dtype=dtype)


@dataclass(frozen=True)
class Gaussian(Initializer):
    """N(0, g² / rows) with g = `gain`: the eigenvalues of a large square matrix fill the disc of radius g.
    Sompolinsky, Crisanti & Sommers 1988."""

    gain: float = 1.0

    def __call__(self, key: Key, shape: tuple[int, int], dtype: jnp.dtype | None = None) -> Array:
        return self.gain / max(shape[0], 1) ** 0.5 * jax.random.normal(key, shape, dtype)


INITIALIZERS: dict[str, type[Initializer]] = {
    "glorot": Glorot,
    "orthogonal": Orthogonal,
    "identity": Identity,
    "gaussian": Gaussian,
}


def gate_blocks(initializer: Initializer, key: Key, rows: int, size: int, gates: int) -> Array:
    """Draws one `[rows, size]` block per gate, each from its own key, packed side by side: `[rows, gates·size]`."""
    keys = jax.random.split(key, gates)
    return jnp.concatenate([initializer(k, (rows, size)) for k in keys], axis=-1)


def chrono_bias(key: Key, size: int, max_lag: int) -> Array:
    """Draws b = log U(1, T − 1) with T = `max_lag`: `[size]`, the bias of a forget gate. Tallec & Ollivier 2018.

    A gate of bias b and no other input keeps σ(b) = 1 − 1/(1 + eᵇ) of the memory per step, which gives a lifetime
    of 1 + eᵇ steps, uniform in 2 … T.
    """
    return jnp.log(jax.random.uniform(key, (size,), minval=1.0, maxval=max_lag - 1.0))
