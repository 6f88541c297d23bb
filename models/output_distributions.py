"""Distributions of what follows, given the output y of a cell: bits, pitch by pitch or not, and real numbers.

Each is a Linen module. Called on `ys [..., H]` it returns what determines the distribution; `log_prob(given, x)`,
`[...]`, and `sample(given, key)` take that. x are vectors `[..., N]`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.stats import norm
from jaxtyping import Float

from models.cell import Array, Key, check_at_least

HALVINGS = 40  # of the interval that holds a quantile


class Bits(nn.Module):
    """N bits that are independent given y: p(x_i = 1 | y) = σ(y W + b)_i."""

    size: int

    def setup(self) -> None:
        check_at_least(1, size=self.size)
        self.readout = nn.Dense(self.size)

    def __call__(self, ys: Float[Array, "*batch H"]) -> tuple[Array, ...]:
        """Returns the logits `[..., N]`."""
        return (self.readout(ys),)

    def log_prob(self, given: tuple[Array, ...], x: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
        """Computes ln p(x | y)."""
        return jnp.sum(log_bernoulli(given[0], x), axis=-1)

    def sample(self, given: tuple[Array, ...], key: Key) -> Float[Array, "*batch N"]:
        """Draws x."""
        return jax.random.bernoulli(key, jax.nn.sigmoid(given[0])).astype(given[0].dtype)


class BitByBit(nn.Module):
    """N bits of which each sees those before it, the neural autoregressive distribution estimator (NADE):

        a_i = y U + c + Σ_{j<i} x_j W_j        p(x_i = 1 | x_{<i}, y) = σ(y B_i + b_i + V_i · σ(a_i))

    with `hidden_size` units a. Larochelle & Murray 2011; on top of a recurrent net: Boulanger-Lewandowski, Bengio &
    Vincent 2012, where U and B are the only connections between time steps.
    """

    size: int
    hidden_size: int = 100

    def setup(self) -> None:
        check_at_least(1, size=self.size, hidden_size=self.hidden_size)
        self.to_hidden = nn.Dense(self.hidden_size)
        self.to_bits = nn.Dense(self.size)
        shape = (self.size, self.hidden_size)
        self.write = self.param("write", nn.initializers.glorot_uniform(), shape)
        self.read = self.param("read", nn.initializers.glorot_uniform(), shape)

    def __call__(self, ys: Float[Array, "*batch H"]) -> tuple[Array, ...]:
        """Returns y U + c `[..., hidden]` and y B + b `[..., N]`."""
        return self.to_hidden(ys), self.to_bits(ys)

    def log_prob(self, given: tuple[Array, ...], x: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
        """Computes ln p(x | y)."""
        hidden, bias = given

        def visit(carry: tuple[Array, Array], at: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
            (hidden, total), (bias, write, read, x) = carry, at
            total = total + log_bernoulli(bias + jax.nn.sigmoid(hidden) @ read, x)
            return (hidden + x[..., None] * expand(write, hidden), total), None

        pitches = (jnp.moveaxis(bias, -1, 0), self.write, self.read, jnp.moveaxis(x, -1, 0))
        zeros = jnp.zeros(x.shape[:-1], bias.dtype)
        return jax.lax.scan(visit, (hidden, zeros), pitches)[0][1]

    def sample(self, given: tuple[Array, ...], key: Key) -> Float[Array, "*batch N"]:
        """Draws x."""
        hidden, bias = given

        def visit(hidden: Array, at: tuple[Array, ...]) -> tuple[Array, Array]:
            bias, write, read, key = at
            p = jax.nn.sigmoid(bias + jax.nn.sigmoid(hidden) @ read)
            x = jax.random.bernoulli(key, p).astype(bias.dtype)
            return hidden + x[..., None] * expand(write, hidden), x

        pitches = (jnp.moveaxis(bias, -1, 0), self.write, self.read, jax.random.split(key, self.size))
        return jnp.moveaxis(jax.lax.scan(visit, hidden, pitches)[1], 0, -1)


class Mixture(NamedTuple):
    """Of N numbers each a mixture of K normal distributions: `log_weights`, `means`, `scales`, `[..., N, K]`."""

    log_weights: Array
    means: Array
    scales: Array


class GaussianMixture(nn.Module):
    """N real numbers, independent given y, each from a mixture of K normal distributions:

        p(x_n | y) = Σ_k π_nk N(x_n; μ_nk, σ_nk²)     ln π = log softmax(y P + p)
        μ = y M + m                                   σ = least_scale + softplus(y S + s)

    Bishop 1994, mixture density networks. One component is a normal distribution.
    """

    size: int
    components: int = 1
    least_scale: float = 1e-3

    def setup(self) -> None:
        check_at_least(1, size=self.size, components=self.components)
        self.readout = nn.Dense(3 * self.size * self.components)

    def __call__(self, ys: Float[Array, "*batch H"]) -> Mixture:
        """Returns the mixtures."""
        raw = self.readout(ys).reshape(*ys.shape[:-1], 3, self.size, self.components)
        weights, means, scales = (raw[..., i, :, :] for i in range(3))
        return Mixture(jax.nn.log_softmax(weights), means, self.least_scale + jax.nn.softplus(scales))

    def log_prob(self, given: Mixture, x: Float[Array, "*batch N"]) -> Float[Array, "*batch"]:
        """Computes ln p(x | y)."""
        each = given.log_weights + norm.logpdf(x[..., None], given.means, given.scales)
        return jnp.sum(jax.nn.logsumexp(each, axis=-1), axis=-1)

    def sample(self, given: Mixture, key: Key) -> Float[Array, "*batch N"]:
        """Draws x."""
        of_component, of_value = jax.random.split(key)
        chosen = jax.random.categorical(of_component, given.log_weights)[..., None]
        means, scales = (jnp.take_along_axis(leaf, chosen, -1)[..., 0] for leaf in given[1:])
        return means + scales * jax.random.normal(of_value, means.shape, means.dtype)

    def mean(self, given: Mixture) -> Float[Array, "*batch N"]:
        """Computes the mean Σ_k π_k μ_k."""
        return jnp.sum(jnp.exp(given.log_weights) * given.means, axis=-1)


def mixture_quantiles(given: Mixture, levels: Float[Array, " Q"]) -> Float[Array, "Q *batch N"]:
    """Computes the quantiles of mixtures at the levels, by bisection of their distribution function."""
    reach = 10 * given.scales  # of any quantile from the nearest component's mean
    low, high = jnp.min(given.means - reach, axis=-1), jnp.max(given.means + reach, axis=-1)

    def quantile(level: Array) -> Array:
        def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            below = norm.cdf(middle[..., None], given.means, given.scales)
            left = jnp.sum(jnp.exp(given.log_weights) * below, axis=-1) >= level
            return jnp.where(left, low, middle), jnp.where(left, middle, high)

        ends = jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
        return (ends[0] + ends[1]) / 2

    return jax.lax.map(quantile, jnp.asarray(levels))


def log_bernoulli(logits: Array, bits: Array) -> Array:
    """Computes ln p of bits, of any shape, from their logits z: x z − ln(1 + eᶻ)."""
    return bits * logits - jax.nn.softplus(logits)


def expand(row: Array, like: Array) -> Array:
    """Returns a row `[M]` with the leading axes of `like [..., M]`."""
    return jnp.broadcast_to(row, like.shape)
