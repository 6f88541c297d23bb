"""A `Task` says what is trained: data, model, objective, metrics, baselines. `run_task` trains any."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from flax import linen as nn

from experiments.objective import Measure, Objective
from models import Cell
from models.cell import Params
from train import LoopConfig, OptimizerConfig, StopWhen
from train.feed import Batches


@dataclass(frozen=True)
class Metric:
    """A metric as reports write and figures draw it, with the direction that is better."""

    label: str  # with its unit
    format: str = ".4f"
    better: Literal["lower", "higher"] = "lower"
    scale: Literal["log", "linear"] = "linear"

    def cost(self, value: float) -> float:
        """Returns the value as a cost: lower is better."""
        return value if self.better == "lower" else -value


METRICS: Mapping[str, Metric] = {
    "mean_square_error": Metric("mean square error", ".5f", scale="log"),
    "cross_entropy": Metric("cross entropy (nats a step)", ".5f", scale="log"),
    "accuracy": Metric("accuracy", ".1%", "higher"),
    "recalled": Metric("accuracy on the symbols to be recalled", ".1%", "higher", scale="log"),
}


@dataclass(frozen=True)
class RenewedData:
    """Training data made anew from the current parameters after every epoch, as back-translation does.

    Attributes:
        every: the number of steps of an epoch.
        make: `(params, epoch) → arrays`, for epochs 1, 2, …; the arrays are kept in the run's folder, so that a
            resumed run trains on the same ones.
        batches: `(arrays, seed, batch_size) → batches` without an end.
    """

    every: int
    make: Callable[[Params, int], Mapping[str, np.ndarray]]
    batches: Callable[[Mapping[str, np.ndarray], int, int], Batches]


@dataclass(frozen=True)
class Data:
    """Sources of batches: `train(seed, batch_size)` without an end, lists of held-out ones.

    `shapes(examples)` gives the shapes of a batch of so many, and `held_out` counts the validation examples in
    memory, so that what can't fit is refused before it is made.
    """

    train: Callable[[int, int], Batches]
    validation: Callable[[], list[Any]]
    test: Callable[[], list[Any]]
    tested_on: str = "held-out sequences"
    renewed: RenewedData | None = None
    shapes: Callable[[int], Any] | None = None
    held_out: int = 0


class Scores(NamedTuple):
    """Figures of decoded outputs, and examples of them as text."""

    figures: Mapping[str, float]
    examples: str = ""


@dataclass(frozen=True)
class Recurrence:
    """The cell within a model. A task that gives it can have its health, its Jacobians and the first non-finite
    step looked at.

    Attributes:
        cell: the cell, whose parameters lie in the model's `Recurrent`.
        measure: `(outputs of the method, batch) → {name: (sum, count)}`, the first of which is the loss.
        method: of the model, which gives the outputs.
        probed: the measure whose gradients the health probe follows; by default `measure`.
        batch: on which health is measured; by default the first of validation.
    """

    cell: Cell
    measure: Measure
    method: str = "__call__"
    probed: Measure | None = None
    batch: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Task:
    """Training of one model: its data, loss and metrics, and what to compare it with.

    Attributes:
        title: as the report begins.
        model: a Linen module.
        data: sources of batches.
        objective: loss and metrics on the device.
        metrics: by name, those of `objective.evaluate` and of `score`.
        select: the metric that chooses the best checkpoint and moves the schedule validation_plateau.
        report: the metric that is drawn and reported; by default `select`.
        baselines: trivial answers and classical methods: `label → {metric: value}`.
        score: `(params, batches) → Scores`, on the host, where outputs must be decoded; at every `score_every`-th
            evaluation from step `score_from` on, and on the test data. A `CorpusScore` is shared by the processes
            of a run.
        measure: `(params, batches) → arrays`, what else is measured of the trained model on the test data; kept as
            `arrays/measured.npz`, from which figures are drawn.
        initial: `seed → parameters` to begin with; by default `model.init` on the first batch of validation.
        stop_when: ends training early; see `train.StopWhen`.
        on_devices: `device count → objective`, only for models whose examples interact.
        recurrent: the cell, where there is one.
        fingerprint: what else made the parameters (the digest of a vocabulary); a resumed run must have the same.
    """

    title: str
    model: nn.Module
    data: Data
    objective: Objective
    metrics: Mapping[str, Metric]
    select: str
    report: str = ""
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    score: Callable[[Params, Sequence[Any]], Scores] | None = None
    score_every: int = 1
    score_from: int = 0
    measure: Callable[[Params, Sequence[Any]], Mapping[str, np.ndarray]] | None = None
    initial: Callable[[int], Params] | None = None
    stop_when: StopWhen | None = None
    on_devices: Callable[[int], Objective] | None = None
    recurrent: Recurrence | None = None
    fingerprint: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.select, self.reported):
            if name not in self.metrics:
                raise ValueError(f"the task has no metric {name!r}: it has {', '.join(self.metrics)}")

    @property
    def reported(self) -> str:
        """Returns the name of the metric that is drawn and reported."""
        return self.report or self.select

    def cost(self, evaluation: Mapping[str, float]) -> float | None:
        """Returns the selected metric of an evaluation, lower for better; None if it wasn't measured."""
        value = evaluation.get(self.select)
        return None if value is None else self.metrics[self.select].cost(value)


@runtime_checkable
class Options(Protocol):
    """The options of training that `train_task` reads."""

    @property
    def seed(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def loop(self) -> LoopConfig: ...
    @property
    def optimizer(self) -> OptimizerConfig: ...


@dataclass(frozen=True)
class TrainingOptions:
    """Options of one training, where they aren't the config's own."""

    seed: int
    batch_size: int
    loop: LoopConfig
    optimizer: OptimizerConfig
