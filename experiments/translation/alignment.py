"""Attention of a translation model to its source, while it writes a given translation."""

from collections.abc import Sequence

import jax
import numpy as np

from experiments.encoder_decoder.attention import memory_maps
from experiments.network import parts
from models import AttentionCell, AttentionReadout, CrossAttention, EncoderDecoder
from models.cell import Params

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
