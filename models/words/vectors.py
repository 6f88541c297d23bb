"""Word vectors: skip-gram and CBOW, with negative sampling, noise-contrastive estimation or the full softmax.

Every word w has two vectors: u_w as input, which is its word vector, and o_w as output. A score is s = ⟨h, o⟩,
where h is the vector of the centre (skip-gram) or the mean vector of its context (CBOW), and o the output vector of
a word of the context (skip-gram) or of the centre (CBOW).

Axes: G blocks of b centres, each with the e = b + 2H words of its block and around it; K noise words for each of R
groups of blocks, G b = R c; D numbers in a vector; V words.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

Architecture = Literal["skip_gram", "cbow"]
WordLoss = Literal["negative_sampling", "nce", "softmax"]


class Windows(NamedTuple):
    """Centres with their contexts: see `data.words.windows.WindowBatch`."""

    words: Int[Array, "G e"]
    left: Int[Array, "G b"]
    right: Int[Array, "G b"]
    noise: Int[Array, "R K"]


class Tables(NamedTuple):
    """The vectors of all words, as input and as output."""

    inputs: Float[Array, "V D"]
    outputs: Float[Array, "V D"]


class Rows(NamedTuple):
    """The vectors that the windows of a batch read: of words as input, as output, and of noise words as output.

    For skip-gram `inputs` are those of the b centres and `outputs` those of all e words, for CBOW the reverse.
    """

    inputs: Float[Array, "G x D"]
    outputs: Float[Array, "G y D"]
    noise: Float[Array, "R K D"]


class Offsets(NamedTuple):
    """Offsets taken off the scores of `Rows.outputs` and of noise: log k q(w) for NCE, 0 otherwise."""

    outputs: Float[Array, "G y"]
    noise: Float[Array, "R K"]


class WordModel(nn.Module):
    """The parameters: `inputs` `[V, D]`, uniform in ± 1 / 2D, and `outputs` `[V, D]`, zero (word2vec.c)."""

    vocabulary_size: int
    size: int

    @nn.compact
    def __call__(self) -> Tables:
        shape = (self.vocabulary_size, self.size)

        def begin(key: Array) -> Array:
            return jax.random.uniform(key, shape, minval=-0.5 / self.size, maxval=0.5 / self.size)

        return Tables(self.param("inputs", begin), self.param("outputs", nn.initializers.zeros, shape))


@jax.custom_jvp
def log_sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Computes log σ(x). Its derivative, σ(−x), is computed by itself, so that a gradient needs no logarithm."""
    return -jnp.logaddexp(jnp.zeros((), x.dtype), -x)


@log_sigmoid.defjvp
def _log_sigmoid_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return log_sigmoid(x), dx * (0.5 - 0.5 * jnp.tanh(0.5 * x))


def context_mask(windows: Windows) -> Bool[Array, "G b e"]:
    """Tells which words of a block are in the context of which centre."""
    b, e = windows.left.shape[1], windows.words.shape[1]
    offset = jnp.arange(e)[None, None] - jnp.arange(b)[None, :, None] - (e - b) // 2
    left, right = windows.left[:, :, None], windows.right[:, :, None]
    return (offset >= -left) & (offset <= right) & (offset != 0)


def sampled_loss(
    architecture: Architecture,
    rows: Rows,
    mask: Bool[Array, "G b e"],
    negatives: int,
    offsets: Offsets | None = None,
) -> Float[Array, ""]:
    """Computes the loss of negative sampling, summed over all pairs (Mikolov et al. 2013b, equation 4):

        Σ_pairs [ −log σ(s) − k E_{w∼q} log σ(−s_w) ],

    where a pair is a centre with a word of its context (skip-gram) or with its whole context (CBOW), and the
    expectation is the mean over the K noise words that the pair's group shares. With `offsets` it is that of
    noise-contrastive estimation, s − log k q(w) in the place of s (Gutmann & Hyvärinen 2012; Mnih & Teh 2012).

    Args:
        architecture: skip-gram or CBOW.
        rows: the vectors.
        mask: the contexts.
        negatives: noise words for each pair, k.
        offsets: see `Offsets`.
    """
    weight = mask.astype(rows.inputs.dtype)
    count = weight.sum(2)
    groups, noise, size = rows.noise.shape
    if architecture == "skip_gram":
        hidden, pairs = rows.inputs, count
        scores = jnp.einsum("gbd,ged->gbe", hidden, rows.outputs)
        scores = scores if offsets is None else scores - offsets.outputs[:, None]
        found = -jnp.sum(weight * log_sigmoid(scores))
    else:
        hidden, pairs = mean_of_context(rows.inputs, weight), jnp.minimum(count, 1)
        scores = jnp.sum(hidden * rows.outputs, -1)
        scores = scores if offsets is None else scores - offsets.outputs
        found = -jnp.sum(pairs * log_sigmoid(scores))
    others = jnp.einsum("rcd,rkd->rck", hidden.reshape(groups, -1, size), rows.noise)
    others = others if offsets is None else others - offsets.noise[:, None]
    shared = pairs.reshape(groups, -1, 1) * (negatives / noise)
    return found - jnp.sum(shared * log_sigmoid(-others))


def softmax_loss(
    architecture: Architecture, rows: Rows, outputs: Float[Array, "V D"], mask: Bool[Array, "G b e"]
) -> Float[Array, ""]:
    """Computes the loss of the full softmax, summed over all pairs: −s + log Σ_w exp ⟨h, o_w⟩."""
    weight = mask.astype(rows.inputs.dtype)
    count = weight.sum(2)
    if architecture == "skip_gram":
        hidden, pairs = rows.inputs, count
        scores = jnp.sum(weight * jnp.einsum("gbd,ged->gbe", hidden, rows.outputs))
    else:
        hidden, pairs = mean_of_context(rows.inputs, weight), jnp.minimum(count, 1)
        scores = jnp.sum(pairs * jnp.sum(hidden * rows.outputs, -1))
    return jnp.sum(pairs * jax.nn.logsumexp(hidden @ outputs.T, axis=-1)) - scores


def mean_of_context(inputs: Float[Array, "G e D"], weight: Float[Array, "G b e"]) -> Float[Array, "G b D"]:
    """Computes the mean vector of each centre's context, whose gradient is handed on to every word of the context
    whole, not divided by their number, as word2vec.c and gensim do: rare words learn faster from it."""
    total = jnp.einsum("gbe,ged->gbd", weight, inputs)
    mean = total / jnp.maximum(weight.sum(2, keepdims=True), 1)
    return jax.lax.stop_gradient(mean - total) + total


def read_rows(tables: Tables, windows: Windows, architecture: Architecture) -> Rows:
    """Reads the rows of a batch. Ids must lie in 0 … V−1."""
    inputs, outputs = places(windows, architecture)
    all_outputs = take_rows(tables.outputs, jnp.concatenate([outputs.ravel(), windows.noise.ravel()]))
    shape = (*windows.noise.shape, -1)
    return Rows(
        take_rows(tables.inputs, inputs),
        all_outputs[: outputs.size].reshape(*outputs.shape, -1),
        all_outputs[outputs.size :].reshape(shape),
    )


def add_rows(tables: Tables, windows: Windows, architecture: Architecture, changes: Rows) -> Tables:
    """Adds to the rows of a batch; changes of a word that occurs several times sum.

    Each table is read and written once in a step: XLA would copy one written twice."""
    inputs, outputs = places(windows, architecture)
    size = tables.inputs.shape[1]
    return Tables(
        put_rows(tables.inputs, inputs.ravel(), changes.inputs.reshape(-1, size)),
        put_rows(
            tables.outputs,
            jnp.concatenate([outputs.ravel(), windows.noise.ravel()]),
            jnp.concatenate([changes.outputs.reshape(-1, size), changes.noise.reshape(-1, size)]),
        ),
    )


def places(windows: Windows, architecture: Architecture) -> tuple[Array, Array]:
    """Returns the ids of the input and of the output rows."""
    around = (windows.words.shape[1] - windows.left.shape[1]) // 2
    centres = windows.words[:, around : windows.words.shape[1] - around]
    return (centres, windows.words) if architecture == "skip_gram" else (windows.words, centres)


def take_rows(table: Array, ids: Array) -> Array:
    return table.at[ids].get(mode="promise_in_bounds")


def put_rows(table: Array, ids: Array, changes: Array) -> Array:
    return table.at[ids].add(changes, mode="promise_in_bounds")


def window_loss(
    tables: Tables,
    windows: Windows,
    architecture: Architecture,
    kind: WordLoss,
    negatives: int,
    log_noise: Float[Array, "V"],
) -> Float[Array, ""]:
    """Computes the loss of a batch from the tables, summed over its pairs; `log_noise` is log q [V]."""
    rows, mask = read_rows(tables, windows, architecture), context_mask(windows)
    if kind == "softmax":
        return softmax_loss(architecture, rows, tables.outputs, mask)
    return sampled_loss(
        architecture, rows, mask, negatives, nce_offsets(windows, architecture, kind, negatives, log_noise)
    )


def nce_offsets(
    windows: Windows,
    architecture: Architecture,
    kind: WordLoss,
    negatives: int,
    log_noise: Float[Array, "V"],
) -> Offsets | None:
    """Returns log k q(w) of a batch's words for NCE, None for negative sampling."""
    if kind != "nce":
        return None
    shifted = log_noise + jnp.log(negatives)
    return Offsets(shifted[places(windows, architecture)[1]], shifted[windows.noise])


def descend(
    tables: Tables,
    windows: Windows,
    rate: Float[Array, ""],
    architecture: Architecture,
    kind: WordLoss,
    negatives: int,
    log_noise: Float[Array, "V"],
) -> Tables:
    """Takes one step of gradient descent on `window_loss`, which changes the rows of the batch alone; with the full
    softmax, all output rows."""
    rows, mask = read_rows(tables, windows, architecture), context_mask(windows)
    if kind == "softmax":
        gradient, dense = jax.grad(
            lambda rows, outputs: softmax_loss(architecture, rows, outputs, mask), argnums=(0, 1)
        )(rows, tables.outputs)
        tables = tables._replace(outputs=tables.outputs - rate * dense)
    else:
        offsets = nce_offsets(windows, architecture, kind, negatives, log_noise)
        gradient = jax.grad(lambda rows: sampled_loss(architecture, rows, mask, negatives, offsets))(rows)
    return add_rows(tables, windows, architecture, jax.tree.map(lambda g: -rate * g, gradient))


def pairs_in(windows: Windows, architecture: Architecture) -> Int[Array, ""]:
    """Counts the pairs of a batch."""
    count = windows.left.astype(jnp.int32) + windows.right
    return jnp.sum(count if architecture == "skip_gram" else jnp.minimum(count, 1))
