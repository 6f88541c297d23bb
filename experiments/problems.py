"""Problems: tasks that any cell can be trained on, and that several experiments share.

Adding and copy: Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016. Temporal order: Hochreiter & Schmidhuber 1997.
Delayed recall: Engelken 2023. Digits pixel by pixel: Le, Jaitly & Hinton 2015.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import data
from data import Batch, Corpus, TaskBatches, evaluation_batches, split_key, train_batches, windows
from data.batch import Batches
from data.synthetic.batches import MakeBatch
from experiments.footprint import check_task_fits
from experiments.harness.errors import UserError
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.objective import Measure, cell_of, classification, measured_by, regression, tagging
from experiments.run_task import run_task
from experiments.task import METRICS, Data, Recurrence, Task
from experiments.training import TrainingConfig
from models import Cell
from models.cell import Array
from train import StopWhen, SumCount, accuracy, squared_error


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
        """Builds a model that answers it."""
        build = network.tagger if self.each_step else network.classifier
        return build(layer, self.classes)

    def task(self, model: nn.Module, stop_when: StopWhen | None = None) -> Task:
        """Builds the task of training a model of a cell on it; `stop_when` may end it early."""
        cell, objective = cell_of(model), measured_by(model, self.measure)
        assert cell is not None
        return Task(
            title=self.title,
            model=model,
            data=self.data,
            objective=objective,
            metrics=METRICS,
            select="mean_square_error" if self.metric == "mean_square_error" else "cross_entropy",
            report=self.metric,
            baselines={self.trivial: {self.metric: self.baseline}},
            stop_when=stop_when,
            on_devices=partial(measured_by, model, self.measure) if cell.couples_batch else None,
            recurrent=Recurrence(cell, self.measure),
        )


def check_problem_fits(config: TrainingConfig, problem: Problem) -> None:
    """Raises ValueError where training a config's cell on a problem needs more memory than is free."""
    check_task_fits(problem.task(problem.model(config.network, config.layer())), config)


def run_problem(run: Run, config: TrainingConfig, problem: Problem) -> str:
    """Trains a config's cell on a problem, tests it and draws; returns the report."""
    task = problem.task(problem.model(config.network, config.layer()))
    return run_task(run, task, config, label=config.label())


def from_task(task: MakeBatch) -> Data:
    """Batches of a task made from a key: endless ones to train on, and 300 and 1,000 sequences held out.

    Those held out are the same for every seed, and never among those of training.
    """

    def train(seed: int, batch_size: int) -> Batches:
        return TaskBatches(task, split_key(threefry(seed), "train"), batch_size, **process_shard())

    def held_out(split: Any, count: int) -> list[Batch]:
        batches = TaskBatches(task, split_key(threefry(0), split), 100)
        # One by one: a number of them taken at once is a program of its own, and that takes seconds to compile.
        return [jax.tree.map(itemgetter(0), batches.take(1)) for _ in range(count)]

    return Data(
        train,
        lambda: held_out("validation", 3),
        lambda: held_out("test", 10),
        shapes=lambda examples: jax.eval_shape(lambda key: task(key, examples), threefry(0)),
        held_out=300,
    )


def threefry(seed: int) -> jax.Array:
    """Returns the key whose bits are the same on every machine."""
    return jax.random.key(seed, impl="threefry2x32")


def adding_problem(length: int) -> Problem:
    """Returns the problem of adding over `length` steps."""
    return Problem(
        title=f"adding, length {length}",
        data=from_task(partial(data.adding, length=length)),
        measure=regression,
        classes=1,
        metric="mean_square_error",
        baseline=data.adding_baseline(),
        trivial="always answering 1",
    )


def copy_problem(length: int) -> Problem:
    """Returns the problem of copying after `length` blanks."""
    return Problem(
        title=f"copy after {length} blanks",
        data=from_task(partial(data.copy_memory, blanks=length)),
        measure=recall,
        classes=data.COPY_CATEGORIES,
        metric="cross_entropy",
        baseline=data.copy_baseline(length),
        trivial="recall by chance",
        each_step=True,
    )


def recall(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures as `tagging` does, and `recalled`: the accuracy on the symbols to be recalled, without the
    blanks."""
    targets = jnp.asarray(batch.targets)
    asked = jnp.asarray(batch.mask) & (targets != data.COPY_BLANK)
    return tagging(logits, batch) | {"recalled": accuracy(logits, targets, asked)}


def check_direction(network: NetworkConfig) -> None:
    """Raises UserError for a net that is asked before it has read."""
    if network.direction == "backward":
        raise UserError(
            "--direction",
            "backward asks a net for the symbols of copy_memory before it has seen them: take forward or both",
        )


def order_problem(length: int) -> Problem:
    """Returns the problem of temporal order over `length` steps."""
    return Problem(
        title=f"temporal order, length {length}",
        data=from_task(partial(data.temporal_order, length=length)),
        measure=classification,
        classes=4,
        metric="accuracy",
        baseline=data.temporal_order_baseline(),
        trivial="guessing",
    )


def recall_error(outputs: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures one number per step: `outputs` and targets `[T, B, 1]`."""
    return {"mean_square_error": squared_error(outputs, jnp.asarray(batch.targets), jnp.asarray(batch.mask))}


def recall_problem(delay: int, length: int) -> Problem:
    """Returns the problem of recalling a number shown `delay` steps ago."""
    return Problem(
        title=f"delayed recall after {delay} steps",
        data=from_task(partial(data.delayed_recall, length=length, delay=delay)),
        measure=recall_error,
        classes=1,
        metric="mean_square_error",
        baseline=data.delayed_recall_baseline(length, delay),
        trivial="always answering 0",
        each_step=True,
    )


def digits_problem(permuted: bool, gain: float = 1.0) -> Problem:
    """Digits, the pixels in order or permuted, times a gain."""

    def images(split: str) -> data.ArrayExamples:
        examples = data.digits(split, permuted=permuted)
        return data.ArrayExamples(np.float32(gain) * examples.inputs, examples.targets)

    return images_problem(
        f"digits, pixels {'permuted' if permuted else 'in order'}", images, data.DIGITS_PIXELS
    )


def images_problem(
    title: str,
    images: Callable[[str], data.ArrayExamples],
    steps: int,
    held_out: int = 270,
    tested_on: str = "270 test images",
    width: int = 1,
) -> Problem:
    """Returns the problem of telling ten digits by `width` pixels a step, `steps` times. `images` gives a split's
    examples, and is called once it is needed; there are about `held_out` for validation, read 270 at a time."""

    def train(seed: int, batch_size: int) -> Batches:
        return data.train_batches(images("train"), batch_size=batch_size, seed=seed, **process_shard())

    def batches(split: str) -> list[Batch]:
        return list(data.evaluation_batches(images(split), batch_size=270))

    def shapes(examples: int) -> Batch:
        axes = (steps, examples)
        return jax.eval_shape(
            lambda: Batch(jnp.zeros((*axes, width)), jnp.zeros(examples, int), jnp.ones(axes, bool))
        )

    return Problem(
        title=title,
        data=Data(
            train,
            lambda: batches("validation"),
            lambda: batches("test"),
            tested_on,
            shapes=shapes,
            held_out=held_out,
        ),
        measure=classification,
        classes=data.DIGITS_CLASSES,
        metric="accuracy",
        baseline=1 / data.DIGITS_CLASSES,
        trivial="guessing",
    )


def text_problem(corpus: Corpus, length: int) -> Problem:
    """Returns the problem of predicting each token of windows of text, each read from the initial state."""
    size, last = len(corpus.tokenizer.vocabulary), corpus.held_out[-1]

    def train(seed: int, batch_size: int) -> Batches:
        source = windows(corpus.split("train"), length, stride=max(1, length // 4))
        return train_batches(source, batch_size=batch_size, seed=seed, **process_shard())

    def held_out(split: str) -> list[Batch]:
        text = corpus.split(split)
        source = windows(text, length, stride=max(length, len(text) // 300))
        return list(evaluation_batches(source, batch_size=100))

    def shapes(examples: int) -> Batch:
        tokens = jax.ShapeDtypeStruct((length, examples), jnp.int32)
        return Batch(tokens, tokens, jax.ShapeDtypeStruct(tokens.shape, jnp.bool_))  # pyright: ignore

    counts = np.bincount(corpus.split("train"), minlength=size) + 1
    return Problem(
        title=f"text, windows of {length}",
        data=Data(
            train,
            lambda: held_out("valid"),
            lambda: held_out(last),
            "held-out windows",
            shapes=shapes,
            held_out=300,
        ),
        measure=tagging,
        classes=size,
        metric="cross_entropy",
        baseline=float(-np.log(counts / counts.sum())[corpus.split(last)].mean()),
        trivial="frequencies",
        each_step=True,
    )
