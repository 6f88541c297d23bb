"""An encoder–decoder one token at a time, as pure functions: for search, sampling and scheduled sampling."""

from functools import partial
from typing import Any

import jax
from jaxtyping import Bool, Float, Int

from models.cell import Array, Key, Output, Params, State
from models.decoding.scheduled import Step, sampled, scheduled_sampling
from models.encoder_decoder import DecoderWeights, Encoded, EncoderDecoder
from models.layers.short_caches import with_short_caches
from models.softmax import compute_logits


def encode(
    model: EncoderDecoder, params: Params, inputs: Array, mask: Bool[Array, "L *batch"] | None = None
) -> Encoded:
    """Reads the sources `[L, *batch, ...]`, in evaluation."""
    encoded: Any = model.apply(params, inputs, mask=mask, method="encode")
    return encoded


def start(model: EncoderDecoder, params: Params, encoded: Encoded) -> tuple[DecoderWeights, State]:
    """Returns the weights that all steps use and the state before the first, leaves `[*batch, ...]`. What the
    weights hold of the memory has batch axes too; it is the same at every step, and for every hypothesis of a
    source."""
    started: Any = model.apply(params, encoded, method="start")
    return started


def step(
    model: EncoderDecoder, weights: DecoderWeights, state: State, token: Int[Array, "*batch"]
) -> tuple[State, Float[Array, "*batch V"]]:
    """Reads one token, first the end mark, and returns the next state and the logits of the token after it."""
    x = model.writer({"embedding": weights.embedding}, token)
    state, y = model.decoder.step(weights.decoder, state, model.decoder.drive(weights.decoder, x))
    return state, compute_logits(y, weights.kernel, weights.bias)


def decoder_step(
    model: EncoderDecoder,
    params: Params,
    inputs: Array,
    mask: Bool[Array, "L *batch"] | None = None,
    *,
    steps: int | None = None,
) -> tuple[Step, State]:
    """Returns `step(state, token) -> (state, logits)` for these sources and the state before the first token, as
    `teacher_forcing`, `free_running` and `scheduled_sampling` take them. Where no more than `steps` will be taken,
    key–value caches are as short as these allow."""
    if steps is not None:
        model = model.clone(decoder=with_short_caches(model.decoder, steps))
    weights, state = start(model, params, encode(model, params, inputs, mask))
    return partial(step, model, weights), state


def scheduled_targets(
    model: EncoderDecoder,
    params: Params,
    inputs: Array,
    targets: Int[Array, "T *batch"],
    key: Key,
    probability: float | Float[Array, "*batch"],
    *,
    mask: Bool[Array, "L *batch"] | None = None,
    target_mask: Bool[Array, "T *batch"] | None = None,
) -> Int[Array, "T *batch"]:
    """Draws the decoder's inputs of scheduled sampling, which `loss` takes as `fed`: after the first, each true
    one is replaced, with the given probability, by a sample from the model's prediction given the inputs so
    far.

    Training on them is the method of Bengio et al. 2015: as no gradient passes through the sampled inputs, they
    can all be drawn first, by the model in evaluation, and the loss is then differentiated as usual.
    """
    fixed = jax.lax.stop_gradient(params)
    advance, state = decoder_step(model, fixed, inputs, mask, steps=len(targets))

    def remember(state: State, token: Array) -> tuple[State, tuple[Array, Array]]:
        state, logits = advance(state, token)
        return state, (token, logits)

    def draw(output: Output, key: Key | None) -> Array:
        return sampled(output[1], key)

    fed = model.writer.shifted(targets, target_mask)
    return scheduled_sampling(remember, state, fed, key, probability, draw)[1][0]
