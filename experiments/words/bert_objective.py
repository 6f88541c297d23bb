"""The training loss of a masked language model, and what it is evaluated by."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from data import MaskedBatch
from models import MaskedLanguageModel
from models.cell import Array, Params
from train import SumCount, accuracy, cross_entropy, mean


def measured(
    model: MaskedLanguageModel, params: Params, batch: MaskedBatch, **options: Any
) -> dict[str, SumCount]:
    """Measures hidden words and next sentences of a batch."""
    inputs, mask, spans, places, answers, chosen, follows = map(jnp.asarray, batch)
    found: Any = model.apply(params, inputs, spans, places, mask=mask, method="answers", **options)
    words, following = found
    real = jnp.any(mask, axis=0)
    return {
        "masked_cross_entropy": cross_entropy(words, answers, chosen),
        "masked_accuracy": accuracy(words, answers, chosen),
        "next_cross_entropy": cross_entropy(following, follows, real),
        "next_accuracy": accuracy(following, follows, real),
    }


@dataclass(frozen=True)
class BertLoss:
    """The mean cross entropy of the hidden words plus that of the next sentence, weighted as one hidden word each
    P / B of them is: a sum over the hidden words, as `train` adds sums and counts over devices."""

    model: MaskedLanguageModel

    def __call__(
        self, params: Params, carry: Any, batch: MaskedBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        found = measured(self.model, params, batch, train=True, rngs={"recurrent": key})
        total, count = found["masked_cross_entropy"]
        loss = total + count * mean(found["next_cross_entropy"])
        return (loss, count), (carry, {name: found[name] for name in ("masked_accuracy", "next_accuracy")})


@dataclass(frozen=True)
class BertEvaluation:
    """Cross entropy and accuracy of hidden words and of the next sentence."""

    model: MaskedLanguageModel

    def __call__(self, params: Params, batch: MaskedBatch) -> dict[str, SumCount]:
        return measured(self.model, params, batch)
