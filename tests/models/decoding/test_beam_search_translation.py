"""Beam search under encoder–decoders: scores are those of the loss, no batch and no padding changes them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    GRU,
    AttentionCell,
    Beams,
    Bidirectional,
    EncoderDecoder,
    TokenReader,
    TokenWriter,
    Transformer,
    WuPenalty,
    beam_search,
    decoder_step,
)
from models.cell import Array, Params
from models.language_model import uniform_like

pytestmark = pytest.mark.usefixtures("quick_compilation")
V, END, LENGTH, WIDTH, COUNT = 7, 1, 6, 4, 5
READER, WRITER = TokenReader(V, 8), TokenWriter(V, 8, end=END)
MODELS = {
    "attention": EncoderDecoder(
        Bidirectional(GRU(4)), AttentionCell(GRU(8), memory_size=8), READER, WRITER, bridge="mean"
    ),
    "transformer": EncoderDecoder(
        Transformer(8, 1, 2, causal=False),
        Transformer(8, 1, 2, memory_size=8),
        READER,
        WRITER,
        bridge="none",
    ),
}


@partial(jax.jit, static_argnums=0)
def translate(model: EncoderDecoder, params: Params, inputs: Array, mask: Array) -> Beams:
    step, state = decoder_step(model, params, inputs, mask, steps=LENGTH)
    first = jnp.full(inputs.shape[1:], END, jnp.int32)
    options: Any = {"width": WIDTH, "length": LENGTH, "end": END, "n_best": WIDTH}
    return beam_search(step, state, first, normalise=WuPenalty(), **options)


@pytest.mark.parametrize("name", ["attention", pytest.param("transformer", marks=pytest.mark.slow)])
def test_translations(name: str) -> None:
    model = MODELS[name]
    inputs = jax.random.randint(jax.random.key(3), (8, COUNT), 0, V)
    mask = jnp.arange(8)[:, None] <= jnp.arange(COUNT)[None]
    shapes = jax.eval_shape(partial(model.init, targets=inputs), jax.random.key(0), inputs, mask=mask)
    zeros: Any = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
    params: Any = uniform_like(zeros, jax.random.key(5), 1.0)
    whole = translate(model, params, inputs, mask)
    assert len({int(count) for count in whole.lengths.ravel()}) > 2

    # Each score is the log-probability of its tokens, which the model computes in one go.
    rows = [jnp.repeat(array, WIDTH, axis=1) for array in (inputs, mask)]
    targets = whole.tokens.reshape(COUNT * WIDTH, LENGTH).T
    valid = jnp.arange(LENGTH)[:, None] < whole.lengths.ravel()[None]
    losses = jax.jit(partial(model.apply, method="token_losses"))(
        params, rows[0], targets, mask=rows[1], target_mask=valid
    )
    forced = -jnp.asarray(losses).sum(axis=0).reshape(COUNT, WIDTH)
    np.testing.assert_allclose(whole.scores, forced, rtol=1e-5)

    # Among other sentences, and padded in front by what are no ids at all, the shorter ones are as before.
    moved = jnp.where(mask, inputs, V + 9)[:, ::-1]
    moved = jnp.concatenate([moved[-2:], moved[:-2]]).at[:, :2].set(inputs[:, :2])
    seen = jnp.concatenate([mask[-2:], mask[:-2]])[:, ::-1].at[:, :2].set(True)
    found = translate(model, params, moved, seen)
    np.testing.assert_array_equal(found.tokens[2:], whole.tokens[2::-1])
    np.testing.assert_allclose(found.scores[2:], whole.scores[2::-1], rtol=1e-5)
