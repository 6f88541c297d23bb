"""Training by likelihood: −ln p of what comes next, for any density over sequences."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from data import Batch
from experiments.objective import Objective
from models import Mixture, SequenceDensity
from models.cell import Array, Params
from train import SumCount, squared_error
from train.metrics import masked_sum


def counted_steps(batch: Batch) -> Array:
    """Returns the steps that are scored, `[T, B]`: valid ones whose target `[N]` has no gap."""
    return jnp.asarray(batch.mask) & jnp.isfinite(jnp.asarray(batch.targets)).all(axis=-1)


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """The loss: −ln p of the targets, a step."""

    model: SequenceDensity

    def __call__(
        self, params: Params, carry: Any, batch: Batch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        log_p = likelihood(self.model, params, batch, train=True, rngs={"recurrent": key})
        return masked_sum(-log_p, counted_steps(batch)), (carry, {})


@dataclass(frozen=True)
class LikelihoodEvaluation:
    """`nll`, −ln p a step; of a normal mixture also `mean_square_error` of its mean."""

    model: SequenceDensity

    def __call__(self, params: Params, batch: Batch) -> dict[str, SumCount]:
        counted = counted_steps(batch)
        found = {"nll": masked_sum(-likelihood(self.model, params, batch), counted)}
        given: Any = self.model.apply(params, batch.inputs, mask=batch.mask)
        if isinstance(given, Mixture):
            mean = jnp.sum(jnp.exp(given.log_weights) * given.means, axis=-1)
            found["mean_square_error"] = squared_error(mean, jnp.asarray(batch.targets), counted)
        return found


def likelihood(model: SequenceDensity, params: Params, batch: Batch, **options: Any) -> Array:
    """Computes ln p of each target, `[T, B]`, zero where it isn't scored."""
    counted = counted_steps(batch)
    apply: Callable[..., Any] = model.apply
    return apply(
        params,
        batch.inputs,
        batch.targets,
        mask=batch.mask,
        counted=counted,
        method="log_prob",
        **options,
    )


def by_likelihood(model: SequenceDensity) -> Objective:
    """Builds the objective of a density."""
    return Objective(NegativeLogLikelihood(model), LikelihoodEvaluation(model))
