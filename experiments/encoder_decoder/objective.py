"""The training loss of an encoder–decoder model, and what it is evaluated by."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from data import PairBatch
from models import EncoderDecoder, scheduled_targets
from models.cell import Array, Params
from train import SumCount


@dataclass(frozen=True)
class PairLoss:
    """The cross entropy of the targets of a batch, in nats. Equal for equal models, so compiled once.

    Attributes:
        model: what is trained.
        smoothing: the share of label smoothing.
        sampled: the share of the decoder's inputs that are drawn from the model.
    """

    model: EncoderDecoder
    smoothing: float = 0.0
    sampled: float = 0.0

    def __call__(
        self, params: Params, carry: Any, batch: PairBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        inputs, mask, targets, target_mask = map(jnp.asarray, batch)
        masks: Any = {"mask": mask, "target_mask": target_mask}
        fed = None
        if self.sampled:
            drawn = jax.random.fold_in(key, 2)
            fed = scheduled_targets(self.model, params, inputs, targets, drawn, self.sampled, **masks)
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 1)}
        options: Any = masks | {"fed": fed, "smoothing": self.smoothing, "train": True}
        loss: Any = self.model.apply(params, inputs, targets, rngs=rngs, method="loss", **options)
        return loss, (carry, {})


@dataclass(frozen=True)
class PairEvaluation:
    """The cross entropy of the targets of a held-out batch, without dropout and smoothing."""

    model: EncoderDecoder

    def __call__(self, params: Params, batch: PairBatch) -> dict[str, SumCount]:
        inputs, mask, targets, target_mask = map(jnp.asarray, batch)
        options: Any = {"mask": mask, "target_mask": target_mask, "train": False}
        loss: Any = self.model.apply(params, inputs, targets, method="loss", **options)
        return {"cross_entropy": loss}
