"""A problem to train one model on: its data, what is measured, what the trivial answer reaches."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from data import Batch, TaskBatches, split_key
from data.batch import Batches
from data.task_batches import Task
from experiments.network import NetworkConfig
from experiments.processes import mine
from experiments.run import Run
from experiments.run_files import read_arrays, read_run
from experiments.training import Evaluation, Measure, TrainingConfig, train_model, training_record
from models import Cell
from train import evaluate

# What the metrics are called, and how their values are written.
METRICS = {
    "mean_square_error": ("mean square error", ".5f"),
    "cross_entropy": ("cross entropy (nats a step)", ".5f"),
    "accuracy": ("accuracy", ".1%"),
    "recalled": ("accuracy on the symbols to be recalled", ".1%"),
}


@dataclass(frozen=True)
class Data:
    """The sources of a problem's batches."""

    train: Callable[[int, int], Batches]  # of a seed and a batch size
    validation: Callable[[], list[Batch]]
    test: Callable[[], list[Batch]]
    tested_on: str = "held-out sequences"


@dataclass(frozen=True)
class Problem:
    """The question put to a model.

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


def from_task(task: Task) -> Data:
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


def solve(run: Run, config: TrainingConfig, problem: Problem) -> str:
    """Trains, tests, writes the curves and draws them; what there is to say."""
    model = problem.model(config.network, config.layer())
    name = config.network.describe(config.cell)
    params = train_model(
        run.folder,
        run=run,
        model=model,
        measure=problem.measure,
        config=config,
        batches=problem.data.train(config.seed, config.batch_size),
        validation=problem.data.validation(),
        label=name,
    )
    run.write_arrays("curves", training_record(run.folder))
    test = evaluate(Evaluation(model, problem.measure), params, problem.data.test())
    draw_curve(run.folder, problem)
    run.finish({"test": test, "baseline": {problem.metric: problem.baseline}})
    quantity, digits = METRICS[problem.metric]
    return (
        f"{problem.title}, {name}: {quantity} {test[problem.metric]:{digits}} on {problem.data.tested_on}; "
        f"{problem.trivial} gives {problem.baseline:{digits}}"
    )


def draw_curve(folder: Path, problem: Problem) -> list[Path]:
    """The held-out metric of a finished run against the step, beside what the trivial answer reaches."""
    from analysis import figures

    config, record = read_run(folder)["config"], read_arrays(folder, "curves")
    metric = problem.metric
    curve = {"step": record[f"validation/{metric}/step"], "value": record[f"validation/{metric}"]}
    draw = figures.training_curves if metric == "accuracy" else figures.loss_curves
    figure = draw(
        {NetworkConfig(**config["network"]).describe(config["cell"]): curve},
        y_label=f"{METRICS[metric][0]}, held out",
        baseline=problem.baseline,
        baseline_label=problem.trivial,
    )
    return figures.save(figure, folder / "figures", "training")
