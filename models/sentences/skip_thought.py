"""One vector of a sentence, from which two decoders write the sentences on both sides (Kiros et al. 2015)."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Int

from models.cell import Array, Params
from models.encoder_decoder import EncoderDecoder

SHARED = ("reader", "encoder")  # what the two decoders have in common


class SkipThought(nn.Module):
    """Two decoders on one encoder: p(next | s) and p(previous | s), with s the vector of the sentence between.

    `pair` is the encoder with one decoder; its decoder must be given the first state alone, so that it is the
    vector. The parameters are those of `pair`, for the sentence `after`, and of the other decoder its own, for the
    one `before`; the embedding and the encoder are shared.
    """

    pair: EncoderDecoder

    @nn.compact
    def __call__(self, inputs: Int[Array, "L B"], *, mask: Bool[Array, "L B"] | None = None) -> Any:
        """Returns what is known of the sentences, as the encoder returns it."""
        pair: Any = self.pair.clone(parent=None)

        def own(key: Array) -> Any:
            return pair.init(key, inputs, mask=mask)["params"]

        def decoder(key: Array) -> Any:
            return {name: part for name, part in own(key).items() if name not in SHARED}

        after = self.param("after", own)
        self.param("before", decoder)
        return pair.apply({"params": after}, inputs, mask=mask)


def sides(params: Params) -> tuple[Params, Params]:
    """Returns the parameters of `pair` with the decoder of the sentence before, and with that of the one after."""
    after, before = params["params"]["after"], params["params"]["before"]
    return {"params": {**after, **before}}, {"params": after}


def split_targets(
    targets: Int[Array, "T B"], mask: Bool[Array, "T B"], end: int, most: int
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Splits two sentences in a row, each with its end mark last, into arrays of at most `most` tokens.

    Returns the `ids` and `mask` `[min(T, most), B]` of either."""
    ends = (targets == end) & mask
    first = jnp.argmax(ends, axis=0) + 1
    total = jnp.sum(mask, axis=0)
    steps = jnp.arange(min(len(targets), most))[:, None]

    def part(start: Array, length: Array) -> tuple[Array, Array]:
        places = jnp.clip(steps + start[None], 0, len(targets) - 1)
        valid = steps < length[None]
        return jnp.where(valid, jnp.take_along_axis(targets, places, axis=0), 0), valid

    return part(jnp.zeros_like(first), first), part(first, total - first)
