"""Objectives: what training minimises and what an evaluation measures, as pure functions of one batch."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from data import Batch
from experiments.harness.errors import UserError
from models import BatchNormLSTM, Cell
from models.cell import Array, Params
from models.cells.batch_norm import observe_sequence, update_averages
from train import BATCH_AXIS, EvalFn, LossFn, SumCount, UpdateAverages, accuracy, cross_entropy, squared_error


@dataclass(frozen=True)
class Objective:
    """A loss to train with and metrics to evaluate by.

    Attributes:
        loss: minimised by training; see `train.LossFn`.
        evaluate: metrics of a held-out batch; see `train.EvalFn`.
        update_averages: brings running averages up to date with a batch; see `train.UpdateAverages`.
        first_carry: `params -> carry` of the first batch, for a loss that hands a state from batch to batch.
    """

    loss: LossFn
    evaluate: EvalFn
    update_averages: UpdateAverages | None = None
    first_carry: Callable[[Params], Any] | None = None


Measure = Callable[[Any, Any], dict[str, SumCount]]
"""`(outputs of the model, batch) → {metric: (sum, count)}`; training minimises the first."""


def regression(outputs: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures one number per sequence: `outputs [B, 1]`, targets `[B]`."""
    real = jnp.any(batch.mask, axis=0)
    return {"mean_square_error": squared_error(outputs[..., 0], jnp.asarray(batch.targets), real)}


def classification(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures one class per sequence: `logits [B, classes]`, targets `[B]`."""
    real, targets = jnp.any(batch.mask, axis=0), jnp.asarray(batch.targets)
    return {
        "cross_entropy": cross_entropy(logits, targets, real),
        "accuracy": accuracy(logits, targets, real),
    }


def tagging(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures one class per step: `logits [T, B, classes]`, targets `[T, B]`."""
    mask, targets = jnp.asarray(batch.mask), jnp.asarray(batch.targets)
    return {
        "cross_entropy": cross_entropy(logits, targets, mask),
        "accuracy": accuracy(logits, targets, mask),
    }


@dataclass(frozen=True)
class Loss:
    """A measure's first metric as the loss, the others as metrics; equal for equal models, so compiled once. The
    batch is of any kind that has `inputs` and a `mask`."""

    model: nn.Module
    measure: Measure

    def __call__(
        self, params: Params, carry: Any, batch: Any, key: Array
    ) -> tuple[SumCount, tuple[Any, dict]]:
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 1)}
        outputs = self.model.apply(params, batch.inputs, mask=batch.mask, train=True, rngs=rngs)
        (_, loss), *others = self.measure(outputs, batch).items()
        return loss, (carry, dict(others))


@dataclass(frozen=True)
class Evaluation:
    """Every metric of a measure on a batch of any kind that has `inputs` and a `mask`."""

    model: nn.Module
    measure: Measure

    def __call__(self, params: Params, batch: Any) -> dict[str, SumCount]:
        return self.measure(self.model.apply(params, batch.inputs, mask=batch.mask), batch)


@dataclass(frozen=True)
class Averages:
    """The running averages of a model whose cell is a `BatchNormLSTM`, brought up to date by a batch."""

    model: nn.Module

    def __call__(self, params: Params, batch: Batch, key: Array) -> Params:
        cell, inner = cell_of(self.model), params["params"]
        assert isinstance(cell, BatchNormLSTM)
        inputs, mask = jnp.asarray(batch.inputs), jnp.asarray(batch.mask)
        own = inner["recurrent"]["cell"]
        observed = observe_sequence(cell, own, inputs, mask=mask, key=key, train=True)
        own = update_averages(cell, own, observed, mask=mask)
        return params | {"params": inner | {"recurrent": {"cell": own}}}


def measured_by(model: nn.Module, measure: Measure, devices: int = 1) -> Objective:
    """Builds the objective of a model, whose first metric is the loss; each device has a share of the batch.

    Raises UserError for a cell that couples the examples of a batch and can't do so over devices.
    """
    shared = over_devices(model, devices)
    update_averages = Averages(shared) if isinstance(cell_of(model), BatchNormLSTM) else None
    return Objective(Loss(shared, measure), Evaluation(model, measure), update_averages)


def cell_of(model: nn.Module) -> Cell | None:
    """Returns the cell of one of our models, None of a model without."""
    return getattr(model, "cell", None)


def over_devices(model: nn.Module, devices: int) -> nn.Module:
    """Returns the model as it is trained on so many devices: a cell whose examples see one another names in its
    field `axis_name` the axis over which its batch is shared. Raises UserError where it has none."""
    cell = cell_of(model)
    if devices == 1 or cell is None or not cell.couples_batch:
        return model
    if "axis_name" not in {field.name for field in dataclasses.fields(cell)}:
        raise UserError(
            "--devices",
            f"{devices} can't share a batch whose examples see one another, since {cell} has no field axis_name: "
            "take 1",
        )
    return model.clone(cell=dataclasses.replace(cell, axis_name=BATCH_AXIS))  # type: ignore
