"""Sentences as vectors by an encoder, and sentences of vectors by its decoder."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from data import PairExample, Tokenizer, collate_pairs
from experiments.encoder_decoder.search import SearchConfig
from experiments.encoder_decoder.systems import ModelConfig
from models import EncoderDecoder, beam_search
from models.cell import Array, Params
from models.decoding.steps import encode, start, step
from models.encoder_decoder import Encoded
from models.memory import Memory


def one_vector_model(config: Any, tokenizer: Tokenizer) -> EncoderDecoder:
    """Builds an encoder and a decoder that begins with its last state, on the same pieces, from the options of an
    experiment: `cell`, `hidden_size`, `embedding_size`, `direction` and `dropout`."""
    names = ("cell", "hidden_size", "embedding_size", "direction", "dropout")
    parts = ModelConfig(**{name: getattr(config, name) for name in names})
    types, end = len(tokenizer.vocabulary), tokenizer.vocabulary.end_id
    assert end is not None
    return parts.build("fixed", types, types, end, shared=True)


@partial(jax.jit, static_argnames="model")
def sentence_vectors(
    model: EncoderDecoder, params: Params, inputs: Array, mask: Array
) -> Float[Array, "B S"]:
    """Returns all that the decoder is given of each sentence, its first state, as one vector."""
    leaves = jax.tree.leaves(encode(model, params, inputs, mask).state)
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], axis=-1)


@partial(jax.jit, static_argnames=("model", "search", "length"))
def decode_vectors(
    model: EncoderDecoder, params: Params, vectors: Float[Array, "B S"], *, search: SearchConfig, length: int
) -> Any:
    """Searches for the sentence of each vector, of at most `length` pieces; returns `Beams`."""
    shapes = jax.eval_shape(
        lambda: encode(
            model, params, jnp.zeros((1, len(vectors)), jnp.int32), jnp.ones((1, len(vectors)), bool)
        )
    )
    leaves, treedef = jax.tree.flatten(shapes.state)
    ends = np.cumsum([int(np.prod(leaf.shape[1:])) for leaf in leaves])
    parts = jnp.split(vectors, ends[:-1].tolist(), axis=-1)
    state = treedef.unflatten(
        [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]
    )
    memory = Memory(jnp.zeros(shapes.memory.values.shape), jnp.ones(shapes.memory.mask.shape, bool))
    weights, first = start(model, params, Encoded(memory, state))
    end = model.writer.end
    tokens = jnp.full(len(vectors), end, jnp.int32)
    return beam_search(
        partial(step, model, weights),
        first,
        tokens,
        width=search.width,
        length=length,
        end=end,
        normalise=search.rule(),
    )


def encode_sentences(
    model: EncoderDecoder, params: Params, ids: Sequence[np.ndarray], *, together: int = 200
) -> Float[np.ndarray, "N S"]:
    """Returns the vectors of sentences given as ids, the end mark last."""
    longest = max(map(len, ids))
    found = []
    for first in range(0, len(ids), together):
        rows = list(ids[first : first + together])
        padded = rows + [rows[0]] * (min(together, len(ids)) - len(rows))  # one shape is compiled
        batch = collate_pairs([PairExample(row, row) for row in padded], (longest, longest))
        vectors = sentence_vectors(model, params, jnp.asarray(batch.inputs), jnp.asarray(batch.mask))
        found.append(np.asarray(vectors)[: len(rows)])
    return np.concatenate(found)


def interpolate(
    first: Float[np.ndarray, " S"], last: Float[np.ndarray, " S"], steps: int
) -> Float[np.ndarray, "steps S"]:
    """Returns vectors evenly spaced from one to another, both included."""
    shares = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return (1 - shares) * first + shares * last


def nearest(vectors: Float[np.ndarray, "N S"], place: int, count: int) -> list[tuple[int, float]]:
    """Returns the places of the `count` other vectors of the greatest cosine with one, and the cosines."""
    lengths = np.linalg.norm(vectors, axis=-1)
    cosines = vectors @ vectors[place] / np.maximum(lengths * lengths[place], 1e-12)
    order = [int(other) for other in np.argsort(-cosines, kind="stable") if other != place]
    return [(other, float(cosines[other])) for other in order[:count]]
