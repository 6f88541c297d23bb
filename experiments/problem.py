"""Problems: tasks that any cell can be trained on, and that several experiments share."""

from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import jax
from flax import linen as nn

from data import Batch, TaskBatches, split_key
from data.batch import Batches
from data.task_batches import MakeBatch
from experiments.network import NetworkConfig
from experiments.objective import Measure, cell_of, measured_by
from experiments.processes import mine
from experiments.task import METRICS, Data, Recurrence, Task
from models import Cell
from train import Until


@dataclass(frozen=True)
class Problem:
    """A question that can be put to any cell.

    `classes` counts the numbers in an answer, one answer a sequence or, with `each_step`, one a step. `metric`, one
    of what `measure` gives, is drawn and reported beside `baseline`, what the `trivial` answer reaches.
    """

    title: str
    data: Data
    measure: Measure
    classes: int
    metric: str
    baseline: float
    trivial: str
    each_step: bool = False

    def model(self, network: NetworkConfig, layer: Cell) -> nn.Module:
        """A model that answers it."""
        build = network.tagger if self.each_step else network.classifier
        return build(layer, self.classes)

    def task(self, model: nn.Module, until: Until | None = None) -> Task:
        """The task of training a model of a cell on it; `until` may end it early."""
        cell, objective = cell_of(model), measured_by(model, self.measure)
        return Task(
            title=self.title,
            model=model,
            data=self.data,
            objective=objective,
            metrics=METRICS,
            select="mean_square_error" if self.metric == "mean_square_error" else "cross_entropy",
            report=self.metric,
            baselines={self.trivial: {self.metric: self.baseline}},
            until=until,
            on_devices=partial(measured_by, model, self.measure) if cell.couples_batch else None,
            recurrent=Recurrence(cell, self.measure),
        )


def from_task(task: MakeBatch) -> Data:
    """Batches of a task made from a key: endless ones to train on, and 300 and 1,000 sequences held out.

    Those held out are the same for every seed, and never among those of training.
    """

    def train(seed: int, batch_size: int) -> Batches:
        return TaskBatches(task, split_key(threefry(seed), "train"), batch_size, **mine())

    def held_out(split: Any, count: int) -> list[Batch]:
        batches = TaskBatches(task, split_key(threefry(0), split), 100)
        # One by one: a number of them taken at once is a program of its own, and that takes seconds to compile.
        return [jax.tree.map(itemgetter(0), batches.take(1)) for _ in range(count)]

    return Data(train, lambda: held_out("validation", 3), lambda: held_out("test", 10))


def threefry(seed: int) -> jax.Array:
    """The key whose bits are the same on every machine."""
    return jax.random.key(seed, impl="threefry2x32")
