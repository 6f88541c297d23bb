"""Attention of a translation model to its source, while it writes a given translation."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from analysis.attention_maps import MEMORY, attention_maps
from experiments.network import parts
from models import AttentionCell, AttentionReadout, CrossAttention, EncoderDecoder
from models.cell import Array, Params

ATTENDING = (AttentionCell, AttentionReadout, CrossAttention)
Ids = Sequence[int] | np.ndarray


def source_attention(
    model: EncoderDecoder, params: Params, pairs: Sequence[tuple[Ids, Ids]]
) -> list[dict[str, np.ndarray]]:
    """Returns, for each source and its translation, both with end marks, the weights `[heads, T, L]` of every layer
    that attends to the source, by the layer's name; none where the decoder attends to nothing."""
    if not any(isinstance(part, ATTENDING) for part in parts(model.decoder)):
        return [{} for _ in pairs]
    longest = [max(len(pair[side]) for pair in pairs) for side in (0, 1)]
    found = []
    for source, target in pairs:
        inputs, mask = padded(source, longest[0])
        targets, target_mask = padded(target, longest[1])
        maps = jax.device_get(memory_maps(model, params, inputs, mask, targets, target_mask))
        found.append({name: weights[:, : len(target), : len(source)] for name, weights in maps.items()})
    return found


def padded(ids: Ids, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns ids `[length]` with zeros after their end, and the mask of those before."""
    mask = np.arange(length) < len(ids)
    return np.pad(np.asarray(ids, np.int32), (0, length - len(ids))), mask


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
