"""The loss of an autoencoder that reads its sentences damaged."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Int

from data import PairBatch
from experiments.encoder_decoder.objective import PairLoss
from models.cell import Array, Key, Params
from train import SumCount


@dataclass(frozen=True)
class CorruptedLoss:
    """The cross entropy of whole sentences given damaged ones (Vincent et al. 2008; Hill, Cho & Korhonen 2016).

    Attributes:
        loss: that of the model.
        dropped: the probability with which each piece of the source is left out.
        shuffled: how many places a piece of the source may move.
    """

    loss: PairLoss
    dropped: float = 0.0
    shuffled: int = 0

    def __call__(
        self, params: Params, carry: Any, batch: PairBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        inputs, mask = jnp.asarray(batch.inputs), jnp.asarray(batch.mask)
        inputs = shuffle_nearby(inputs, mask, self.shuffled, jax.random.fold_in(key, 4))
        mask = drop_steps(mask, self.dropped, jax.random.fold_in(key, 5))
        return self.loss(params, carry, batch._replace(inputs=inputs, mask=mask), key)


def drop_steps(mask: Bool[Array, "L B"], rate: float, key: Key) -> Bool[Array, "L B"]:
    """Masks valid steps with probability `rate`, but never the last one of a sequence, its end mark."""
    if not rate:
        return mask
    last = mask & ~jnp.concatenate([mask[1:], jnp.zeros_like(mask[:1])])
    return mask & (last | jax.random.bernoulli(key, 1 - rate, mask.shape))


def shuffle_nearby(
    ids: Int[Array, "L B"], mask: Bool[Array, "L B"], places: int, key: Key
) -> Int[Array, "L B"]:
    """Moves each token by at most `places`, at random, the end mark and padding not at all: those before them are
    sorted by i + u, with u uniform in 0 … places + 1 (Lample et al. 2018)."""
    if not places:
        return ids
    steps = jnp.arange(len(ids), dtype=jnp.float32)[:, None]
    moved = steps + jax.random.uniform(key, ids.shape, maxval=places + 1)
    inner = steps < jnp.sum(mask, axis=0)[None] - 1
    order = jnp.argsort(jnp.where(inner, moved, len(ids) + places + 1 + steps), axis=0)
    return jnp.take_along_axis(ids, order, axis=0)
