"""Attention of a decoder to what was read, while it writes a given target."""

from functools import partial
from typing import Any

import jax

from analysis.attention_maps import MEMORY, attention_maps
from models import EncoderDecoder
from models.cell import Array, Params


@partial(jax.jit, static_argnums=0)
def memory_maps(
    model: EncoderDecoder, params: Params, inputs: Array, mask: Array, targets: Array, target_mask: Array
) -> dict[str, Array]:
    """Returns the weights of every layer that attends to the source of one pair; rows beyond the target's end, and
    columns beyond the source's, are padding."""
    encoded: Any = model.apply(params, inputs, mask=mask, method="encode")
    shifted = model.writer.shifted(targets, target_mask)

    def embed(model: EncoderDecoder) -> Any:
        return model.writer(model.own("writer"), shifted), model.own("decoder")

    xs, decoder = model.apply(params, method=embed)  # type: ignore
    maps = attention_maps(model.decoder, decoder, xs, memory=encoded.memory, state=encoded.state)
    return {name: weights for name, weights in maps.items() if name.split(".")[-1] == MEMORY}
