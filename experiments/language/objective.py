"""The training loss of a language model, and what it is evaluated by."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from data import Batch, StreamBatch
from experiments.language.held_out import WholeText
from experiments.language.sampled_inputs import SampledInputs
from models import LanguageModel, carried, initial_carry, scheduled_inputs
from models.cell import Array, Params, State
from train import SumCount, cross_entropy


class Counted(NamedTuple):
    """The carry of scheduled sampling from batch to batch: the state, () if none is carried, and how many batches a
    row has behind it, `[B]`."""

    state: State
    batches: Array


@dataclass(frozen=True)
class StreamLoss:
    """The cross entropy of a batch: summed over steps for each row, or a mean over tokens. The state of each row is
    carried from the batch before, or with `carries=False` begins anew. Equal for equal models, so compiled once."""

    model: LanguageModel
    per: Literal["token", "row"]
    sampled: SampledInputs = field(default_factory=SampledInputs)
    carries: bool = True

    @property
    def carries_anything(self) -> bool:
        """Returns True if a batch needs anything of the one before."""
        return self.carries or self.sampled.used

    def first_carry(self, params: Params, rows: int) -> State | Counted:
        """Returns what is carried into the first batch; () if nothing is."""
        state = initial_carry(self.model, params, (rows,)) if self.carries else ()
        return Counted(state, jnp.zeros(rows, jnp.int32)) if self.sampled.used else state

    def __call__(
        self, params: Params, carry: State | Counted, batch: StreamBatch, key: Array
    ) -> tuple[SumCount, tuple[State | Counted, dict[str, SumCount]]]:
        inputs, targets, mask, reset = map(jnp.asarray, batch)
        before = carry.state if isinstance(carry, Counted) else carry
        state = None
        if self.carries_anything:
            state = initial_carry(self.model, params, reset.shape)
        if self.carries:
            state = carried(before, reset, state)
        metrics: dict[str, SumCount] = {}
        if isinstance(carry, Counted):
            share = self.sampled.share(carry.batches)
            metrics["sampled_share"] = (jnp.sum(share), jnp.float32(len(share)))
            inputs = scheduled_inputs(self.model, params, inputs, state, jax.random.fold_in(key, 2), share)
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 1)}
        # Padding comes last: without a state to carry, only the loss needs to know it.
        valid: Any = {"mask": mask} if self.carries else {"counted": mask}
        result = self.model.apply(
            params, inputs, targets, state, train=True, rngs=rngs, method="loss", **valid
        )
        total, state = result  # type: ignore
        state = state if self.carries else ()
        tokens = jnp.sum(mask, dtype=jnp.float32)
        count = tokens if self.per == "token" else jnp.sum(jnp.any(mask, axis=0), dtype=jnp.float32)
        metrics["cross_entropy"] = (jax.lax.stop_gradient(total), tokens)
        after = Counted(state, carry.batches + 1) if isinstance(carry, Counted) else state
        return (total, count), (after, metrics)


@dataclass(frozen=True)
class TextLoss:
    """The cross entropy of a whole text, nats a token."""

    model: LanguageModel

    def __call__(self, params: Params, text: WholeText) -> dict[str, SumCount]:
        sums = text.scan(self.model, params, lambda losses: jnp.sum(losses))
        return {"cross_entropy": (jnp.sum(sums), jnp.sum(jnp.asarray(text.mask), dtype=jnp.float32))}


def every_token(logits: Array, batch: Any) -> dict[str, SumCount]:
    """Returns the loss of every token of a batch, by `logits [T, B, V]`."""
    mask = jnp.asarray(batch.mask)
    return {"cross_entropy": cross_entropy(logits, jnp.asarray(batch.targets), mask)}


def last_token(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """Returns the loss of the token after the last step alone, whose gradient k steps back tells how far the net
    looks."""
    return every_token(logits[-1:], Batch(*(leaf[-1:] for leaf in batch)))
