"""Attention: weights from scores, a context from weights, and the four scores.

Axes: T queries, S places that they attend to, D size of a value, Q of a query, A of a key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from models.cell import Array, Key, Params, affine, check_at_least
from models.initializers import Glorot, Initializer

# Queries in a block of `attend_in_blocks`: the fastest of 32, 64 and 128 at T = 256; and the most blocks, which are
# compiled one by one.
BLOCK, MOST_BLOCKS = 64, 16


def attend(scores: Array, values: Array, mask: Array | None = None) -> tuple[Array, Array]:
    """Computes the context of each query and its weights:

        α_ts = exp e_ts / Σ_s' exp e_ts'        c_t = Σ_s α_ts v_s        over the places s that t may see

    with e = `scores [..., T, S]`, v = `values [..., S, D]`, and `mask`, which says what may be seen and
    broadcasts to the scores: `c [..., T, D]`, `α [..., T, S]`. The weights are computed in single precision at
    least. A query that may see nothing gets zeros, and no gradient.

    A masked score, NaN included, reaches no value and no gradient. NaN in a key or a value does, so the caller
    puts zeros in place of those that no query may see (`models.memory.without_masked`)."""
    weights = attention_weights(scores, mask)
    context = jnp.einsum("...ts,...sn->...tn", weights.astype(values.dtype), values)
    return context, weights


def attention_weights(scores: Array, mask: Array | None = None) -> Array:
    """Computes α of `attend`."""
    wide = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    if mask is None:
        return jax.nn.softmax(wide, axis=-1)
    # The lowest finite number in place of −∞: where nothing may be seen, a softmax of −∞ is NaN.
    masked = jnp.where(mask, wide, jnp.finfo(wide.dtype).min)
    return jnp.where(mask, jax.nn.softmax(masked, axis=-1), 0)


def attend_in_blocks(
    scores: Callable[[Array, Array], Array],
    queries: Array,
    keys: Array,
    values: Array,
    mask: Array,
    window: int | None = None,
    drop: Callable[[Array, int], Array] | None = None,
) -> Array:
    """Computes the contexts `[..., T, D]` of `attend` where no query sees a key after its own: the last T of the S
    keys are those of the T queries, in order.

    Queries are taken in blocks, each with the keys that its queries may see, so that about half of the scores, and
    with a `window` (the number of keys up to its own that a query sees at most) all but a band of them, are never
    computed.

    Args:
        scores: maps queries `[..., T, A]` and keys `[..., S, A]` to scores `[..., T, S]`.
        mask: says what may be seen, and broadcasts to the scores but for the axes T and S, which it has whole.
        window: where it isn't told, the mask alone says how far back a query sees.
        drop: maps the weights of a block and its number to what remains of them, for dropout.
    """
    steps, earlier = queries.shape[-2], keys.shape[-2] - queries.shape[-2]
    size = max(BLOCK, -(-steps // MOST_BLOCKS))
    contexts = []
    for number, start in enumerate(range(0, steps, size)):
        end = min(start + size, steps)
        first = 0 if window is None else max(0, earlier + start + 1 - window)
        seen = slice(first, earlier + end)
        block = scores(queries[..., start:end, :], keys[..., seen, :])
        weights = attention_weights(block, mask[..., start:end, seen])
        weights = weights if drop is None else drop(weights, number)
        contexts.append(jnp.einsum("...ts,...sd->...td", weights.astype(values.dtype), values[..., seen, :]))
    return jnp.concatenate(contexts, axis=-2)


@runtime_checkable
class Score(Protocol):
    """A measure of how well a key fits a query: e_ts of query q_t and key k_s.

    `keys` maps the values `[..., S, D]` to keys `[..., S, A]`, once a sequence; a call maps queries `[..., T,
    Q]` and keys to scores `[..., T, S]`."""

    def init(self, key: Key, query_size: int, value_size: int) -> Params:
        """Returns parameters for queries of size Q and values of size D."""
        ...

    def keys(self, params: Params, values: Array) -> Array:
        """Computes the keys."""
        ...

    def __call__(self, params: Params, query: Array, keys: Array) -> Array:
        """Computes the scores."""
        ...


@dataclass(frozen=True)
class Dot:
    """e_ts = q_tᵀ v_s: queries and values of one size, no parameters. Luong, Pham & Manning 2015."""

    def init(self, key: Key, query_size: int, value_size: int) -> Params:
        """Returns no parameters. Raises ValueError if queries and values differ in size."""
        if query_size != value_size:
            raise ValueError(
                f"the {type(self).__name__} score compares vectors of one size, but queries have {query_size} and "
                f"values {value_size}: take General() or Additive()"
            )
        return {}

    def keys(self, params: Params, values: Array) -> Array:
        """Returns the values themselves."""
        return values

    def __call__(self, params: Params, query: Array, keys: Array) -> Array:
        return jnp.einsum("...ta,...sa->...ts", query, keys)


@dataclass(frozen=True)
class ScaledDot(Dot):
    """e_ts = q_tᵀ v_s / √A, of variance 1 where the entries of both have variance 1. Vaswani et al. 2017."""

    def __call__(self, params: Params, query: Array, keys: Array) -> Array:
        return super().__call__(params, query * keys.shape[-1] ** -0.5, keys)


@dataclass(frozen=True)
class General:
    """e_ts = q_tᵀ W v_s. Luong, Pham & Manning 2015, there called general; multiplicative attention elsewhere.

    Parameters: `kernel [D, Q]`, which is Wᵀ.
    """

    kernel_init: Initializer = Glorot()

    def init(self, key: Key, query_size: int, value_size: int) -> Params:
        return {"kernel": self.kernel_init(key, (value_size, query_size))}

    def keys(self, params: Params, values: Array) -> Array:
        """Computes W v_s."""
        return affine(values, params["kernel"])

    def __call__(self, params: Params, query: Array, keys: Array) -> Array:
        return jnp.einsum("...ta,...sa->...ts", query, keys)


@dataclass(frozen=True)
class Additive:
    """e_ts = wᵀ tanh(q_t W + v_s U + b). Bahdanau, Cho & Bengio 2015.

    `size` is A, by default the size of the query. Parameters: `query [Q, A]` W, `kernel [D, A]` U, `bias [A]`
    and `readout [A]` w."""

    size: int | None = None
    kernel_init: Initializer = Glorot()

    def __post_init__(self) -> None:
        if self.size is not None:
            check_at_least(1, size=self.size)

    def init(self, key: Key, query_size: int, value_size: int) -> Params:
        size = query_size if self.size is None else self.size
        key_query, key_kernel, key_readout = jax.random.split(key, 3)
        return {
            "query": self.kernel_init(key_query, (query_size, size)),
            "kernel": self.kernel_init(key_kernel, (value_size, size)),
            "bias": jnp.zeros(size),
            "readout": self.kernel_init(key_readout, (size, 1))[:, 0],
        }

    def keys(self, params: Params, values: Array) -> Array:
        """Computes v_s U + b."""
        return affine(values, params["kernel"], params["bias"])

    def __call__(self, params: Params, query: Array, keys: Array) -> Array:
        hidden = jnp.tanh(affine(query, params["query"])[..., :, None, :] + keys[..., None, :, :])
        return hidden @ params["readout"]


SCORES: dict[str, type[Dot] | type[General] | type[Additive]] = {
    "dot": Dot,
    "scaled_dot": ScaledDot,
    "general": General,
    "additive": Additive,
}
