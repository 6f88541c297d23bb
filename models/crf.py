"""Linear-chain conditional random fields: the probability of a whole sequence of tags, and the likeliest one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from models.cell import Array, Key


class ChainWeights(NamedTuple):
    """Scores of K tags side by side: of the first tag `start [K]`, of tag j after i `transitions [K, K]` at (i, j),
    of the last tag `end [K]`."""

    start: Array
    transitions: Array
    end: Array


def init_chain(key: Key, tags: int) -> ChainWeights:
    """Draws the weights of a chain from U(−0.1, 0.1)."""
    keys, shapes = jax.random.split(key, 3), ((tags,), (tags, tags), (tags,))
    return ChainWeights(
        *(jax.random.uniform(k, s, minval=-0.1, maxval=0.1) for k, s in zip(keys, shapes, strict=True))
    )


def chain_losses(
    weights: ChainWeights,
    emissions: Float[Array, "T *batch K"],
    tags: Int[Array, "T *batch"],
    mask: Bool[Array, "T *batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Computes −ln p(y) of each sequence of tags y_1 … y_T, in nats:

        p(y) = exp(s(y)) / Σ_{y'} exp(s(y')),    s(y) = Σ_t e_t[y_t] + start[y_1] + Σ_t A[y_{t−1}, y_t] + end[y_T]

    for `emissions` e. Masked steps are left out of the chain, wherever they are, and nothing of them reaches a
    value or a gradient; a sequence without a valid step has loss 0. Lafferty, McCallum & Pereira 2001.
    """
    return log_partition(weights, emissions, mask) - chain_scores(weights, emissions, tags, mask)


def chain_scores(
    weights: ChainWeights,
    emissions: Float[Array, "T *batch K"],
    tags: Int[Array, "T *batch"],
    mask: Bool[Array, "T *batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Computes the score s(y) of each sequence of tags: see `chain_losses`."""
    emissions, mask = _valid(emissions, mask)
    tags = jnp.where(mask, tags, 0)
    steps = jnp.arange(1, len(tags) + 1).reshape((-1,) + (1,) * (tags.ndim - 1))
    last = jax.lax.cummax(jnp.where(mask, steps, 0))  # the valid step up to each, from 1; 0 before the first
    before = jnp.concatenate([jnp.zeros_like(last[:1]), last[:-1]])
    previous = jnp.take_along_axis(tags, jnp.maximum(before - 1, 0), axis=0)
    joined = jnp.where(before > 0, weights.transitions[previous, tags], weights.start[tags])
    own = jnp.take_along_axis(emissions, tags[..., None], axis=-1)[..., 0]
    final = jnp.take_along_axis(tags, jnp.maximum(last[-1:] - 1, 0), axis=0)[0]
    ends = jnp.where(last[-1] > 0, weights.end[final], 0)
    return jnp.sum(jnp.where(mask, own + joined, 0), axis=0) + ends


def log_partition(
    weights: ChainWeights,
    emissions: Float[Array, "T *batch K"],
    mask: Bool[Array, "T *batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Computes ln Σ_y exp(s(y)) over all sequences of tags, by the forward algorithm: one scan,

        α_t[j] = e_t[j] + ln Σ_i exp(α_{t−1}[i] + A[i, j]),    α_1 = start + e_1

    See `chain_losses`.
    """
    emissions, mask = _valid(emissions, mask)

    def advance(alpha: Array) -> Array:
        joined = alpha[..., :, None] + _wide(weights.transitions, alpha.ndim + 1)
        return jax.nn.logsumexp(joined, axis=-2)

    def step(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (alpha, begun), (emitted, valid) = carry, given
        reached = jnp.where(begun[..., None], advance(alpha), _wide(weights.start, alpha.ndim)) + emitted
        return (jnp.where(valid[..., None], reached, alpha), begun | valid), None

    first = (jnp.zeros_like(emissions[0]), jnp.zeros_like(mask[0]))
    (alpha, begun), _ = jax.lax.scan(step, first, (emissions, mask))
    total = jax.nn.logsumexp(alpha + _wide(weights.end, alpha.ndim), axis=-1)
    return jnp.where(begun, total, 0)


def tag_probabilities(
    weights: ChainWeights,
    emissions: Float[Array, "T *batch K"],
    mask: Bool[Array, "T *batch"] | None = None,
) -> Float[Array, "T *batch K"]:
    """Computes the probability of each tag at each step, whatever the other tags are; 0 at masked steps:

        p(y_t = k) = ∂ ln Z / ∂e_t[k],    Z = Σ_y exp(s(y))

    by the backward pass of `log_partition`. See `chain_losses`.
    """
    return jax.grad(lambda e: jnp.sum(log_partition(weights, e, mask)))(emissions)


def viterbi(
    weights: ChainWeights,
    emissions: Float[Array, "T *batch K"],
    mask: Bool[Array, "T *batch"] | None = None,
) -> tuple[Int[Array, "T *batch"], Float[Array, "*batch"]]:
    """Finds the sequence of tags with the largest score, and that score; tag 0 at masked steps.

    One scan forward keeps the best way to every tag, one backward follows it from the best end. Viterbi 1967.
    """
    emissions, mask = _valid(emissions, mask)
    stay = jnp.broadcast_to(jnp.arange(emissions.shape[-1]), emissions.shape[1:])

    def forward(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        (best, begun), (emitted, valid) = carry, given
        joined = best[..., :, None] + _wide(weights.transitions, best.ndim + 1)
        reached = jnp.where(begun[..., None], jnp.max(joined, axis=-2), _wide(weights.start, best.ndim))
        came = jnp.where((begun & valid)[..., None], jnp.argmax(joined, axis=-2), stay)
        return (jnp.where(valid[..., None], reached + emitted, best), begun | valid), came

    def backward(tag: Array, came: Array) -> tuple[Array, Array]:
        return jnp.take_along_axis(came, tag[..., None], axis=-1)[..., 0], tag

    first = (jnp.zeros_like(emissions[0]), jnp.zeros_like(mask[0]))
    (best, begun), came = jax.lax.scan(forward, first, (emissions, mask))
    ends = best + _wide(weights.end, best.ndim)
    _, tags = jax.lax.scan(backward, jnp.argmax(ends, axis=-1), came, reverse=True)
    return jnp.where(mask, tags, 0), jnp.where(begun, jnp.max(ends, axis=-1), 0)


def _valid(emissions: Array, mask: Array | None) -> tuple[Array, Array]:
    """Returns emissions with zeros where they are masked, and the mask, which is True by default."""
    if mask is None:
        return emissions, jnp.ones(emissions.shape[:-1], bool)
    return jnp.where(mask[..., None], emissions, 0), mask


def _wide(values: Array, axes: int) -> Array:
    """Gives an array leading axes of length 1."""
    return values.reshape((1,) * (axes - values.ndim) + values.shape)
