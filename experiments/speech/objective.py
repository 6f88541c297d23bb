"""Losses of recognition: of all alignments (CTC), and of labels spread evenly over each word."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from data.speech.augmentation import AugmentConfig, hide_bands
from data.speech.batches import SpeechBatch
from models import ctc_loss
from models.cell import Array, Params
from models.speech.attention_recogniser import AttentionRecogniser
from train import SumCount, cross_entropy


def ctc_sum(logits: Array, batch: SpeechBatch) -> SumCount:
    """Computes Σ −ln p(labels) over the utterances, in nats, and the number of their labels. Utterances whose
    labels no path has, and those that are padding, count nothing and have no gradient."""
    labels, label_mask = jnp.asarray(batch.labels), jnp.asarray(batch.label_mask)
    losses = ctc_loss(logits, labels, mask=jnp.asarray(batch.mask), label_mask=label_mask)
    counted = jnp.isfinite(losses) & jnp.any(label_mask, axis=0)
    sizes = jnp.sum(label_mask, axis=0)
    return jnp.sum(jnp.where(counted, losses, 0)), jnp.sum(jnp.where(counted, sizes, 0), dtype=losses.dtype)


def spread_sum(logits: Array, batch: SpeechBatch) -> SumCount:
    """Computes the cross entropy of the label at each step, in nats, and the number of steps. There is no blank, so
    class k is label k + 1."""
    return cross_entropy(logits, jnp.maximum(jnp.asarray(batch.spread) - 1, 0), jnp.asarray(batch.mask))


def summed_loss(
    model: nn.Module, params: Params, batch: SpeechBatch, *, aligned: bool, train: bool, **options: Any
) -> SumCount:
    """Computes the loss of a batch by a system: see `RecognitionLoss`."""
    inputs, mask = jnp.asarray(batch.inputs), jnp.asarray(batch.mask)
    given: Any = {"mask": mask, "train": train, **options}
    if isinstance(model, AttentionRecogniser):
        labels, label_mask = jnp.asarray(batch.labels), jnp.asarray(batch.label_mask)
        given |= {"label_mask": label_mask, "method": "label_loss"}
        return model.apply(params, inputs, labels, **given)  # type: ignore[return-value]
    logits: Any = model.apply(params, inputs, **given)
    return (spread_sum if aligned else ctc_sum)(logits, batch)


@dataclass(frozen=True)
class RecognitionLoss:
    """The loss of a training batch, whose bands are hidden. Equal for equal models, so compiled once.

    Attributes:
        model: what is trained: a tagger of frames, or one that attends to them.
        aligned: the labels are spread over the steps, rather than summed over all alignments.
        augment: the bands to hide.
        filters: of a frame, F.
    """

    model: nn.Module
    aligned: bool
    augment: AugmentConfig
    filters: int

    def __call__(
        self, params: Params, carry: Any, batch: SpeechBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        inputs, mask = jnp.asarray(batch.inputs), jnp.asarray(batch.mask)
        if self.augment.time_masks or self.augment.frequency_masks:
            inputs = hide_bands(jax.random.fold_in(key, 1), inputs, mask, self.augment, self.filters)
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 2)}
        heard = batch._replace(inputs=inputs)
        loss = summed_loss(self.model, params, heard, aligned=self.aligned, train=True, rngs=rngs)
        return loss, (carry, {})


@dataclass(frozen=True)
class RecognitionEvaluation:
    """The loss of a held-out batch."""

    model: nn.Module
    aligned: bool

    def __call__(self, params: Params, batch: SpeechBatch) -> dict[str, SumCount]:
        return {"loss": summed_loss(self.model, params, batch, aligned=self.aligned, train=False)}
