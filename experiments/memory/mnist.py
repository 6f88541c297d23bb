"""Classify MNIST read pixel by pixel, by several cells: accuracy against minutes. Le, Jaitly & Hinton 2015.

By default six cells read scikit-learn's digits, 64 pixels; --data.dir PATH/mnist takes MNIST's own files: 784
pixels in order or permuted, or with --data.side 14 the means of 2×2 pixels. The presets sequential and permuted
train a GRU on 784 pixels for about 40 minutes on 2 CPU cores, cells six cells on 14×14 for about an hour. A cell's
time is its steps times the time of a step, which is measured at the end, for all cells alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from data import ArrayExamples, ImagesConfig, array_digest, load_images
from data.images import nearest_mean
from experiments.budgets import seconds_a_step
from experiments.cell_spec import at_length
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, stored_config
from experiments.harness.run import Run
from experiments.health import check_health
from experiments.network import NetworkConfig, check_cells
from experiments.problems import Problem, images_problem
from experiments.restore import best_params
from experiments.run_task import Trained, run_tasks
from experiments.task import METRICS, Task
from experiments.task_report import training_record
from experiments.training import CELL_HELP, Flat
from train import LoopConfig, OptimizerConfig, evaluate

SEVERAL_NETS = True  # one after another: what several processes can't share
CELLS_HELP = (
    f"The cells side by side: {CELL_HELP}. T in a cell's options is the number of pixels: gru(max_lag=T)."
)
MIXED = "stacked(({cell}, residual(feed_forward)))"  # a cell that is linear in its state needs what is not
SIX = ("elman(activation=relu, recurrent_init=identity)", "gru(max_lag=T)", "lstm(max_lag=T)", "min_gru")
SIX += (MIXED.format(cell="lru"), MIXED.format(cell="s5"))


@dataclass(frozen=True)
class Config:
    """MNIST."""

    preset: str | None = None
    """Cells and options of a timed setting on MNIST; options given explicitly override it."""
    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=CELLS_HELP)] = SIX
    data: ImagesConfig = field(default_factory=ImagesConfig)
    hidden_size: int = 64
    """Units of each cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    batch_size: int = 50
    """Images per step, B."""
    seed: int = 0
    """Seed of parameters and of the order of training images."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=800, eval_every=100, save_every=100)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=3e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_seed(self.seed)
        check_cells(self.cells)

    def check(self) -> None:
        """Raises ValueError for images that can't be read and cells that can't be built, before the run's folder is
        made."""
        if self.preset is not None and self.data.dir is None:
            raise UserError(
                "--data.dir", f"is missing: --preset {self.preset} is for MNIST's files in a folder"
            )
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        images = load_images(self.data)
        for cell in self.cells:
            check_health(self.network.build(self.at_length(cell), self.hidden_size), self.loop)
        for task in self.tasks(images).values():
            check_task_fits(task, self)
            task.data.train(self.seed, self.batch_size)  # too few images are refused

    def at_length(self, cell: str) -> str:
        """Returns a cell's expression with T, the number of pixels, filled in."""
        return at_length(cell, self.data.pixels)

    def problem(self, images: Mapping[str, ArrayExamples]) -> Problem:
        """Returns the problem of classifying the images."""
        tested, held = len(images["test"]), len(images["validation"])
        return images_problem(
            self.data.title, images.__getitem__, self.data.pixels, held, f"{tested:,} test images"
        )

    def tasks(self, images: Mapping[str, ArrayExamples]) -> dict[str, Task]:
        """Builds the task of training each cell, by its name."""
        problem, labels = self.problem(images), [part.targets for part in images.values()]
        found = {}
        for cell in self.cells:
            layer = self.network.build(self.at_length(cell), self.hidden_size)
            task = problem.task(problem.model(self.network, layer))
            found[self.name(cell)] = replace(task, fingerprint={"the images": array_digest(labels)})
        return found

    def name(self, cell: str) -> str:
        """Names a cell as tables and figures do."""
        return self.network.describe(cell)


def loop(steps: int, times: int) -> LoopConfig:
    """Returns a loop that evaluates and saves so many times."""
    return LoopConfig(steps=steps, eval_every=steps // times, save_every=steps // times, log_every=50)


HOUR: dict[str, Any] = {
    "hidden_size": 128,
    "batch_size": 64,
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="warmup_cosine", warmup_steps=200),
}
# 859 steps read the 55,000 training images once.
PRESETS: Mapping[str, Config] = {
    "sequential": Config(preset="sequential", cells=("gru(max_lag=T)",), loop=loop(7200, 8), **HOUR),
    "permuted": Config(
        preset="permuted",
        cells=("gru(max_lag=T)",),
        data=ImagesConfig(permuted=True),
        loop=loop(7200, 8),
        **HOUR,
    ),
    "cells": Config(preset="cells", cells=SIX, data=ImagesConfig(side=14), loop=loop(8600, 10), **HOUR),
}


def main(config: Config, run: Run) -> str:
    """Trains cell by cell, times their steps, tabulates and draws; returns the table."""
    images = load_images(config.data)
    problem, tasks = config.problem(images), config.tasks(images)
    test = problem.data.test()

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        params = best_params(tasks[name], config, folder, run.fingerprint)
        record = training_record(folder)
        return {
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "steps": trained.steps,
            "accuracy": evaluate(tasks[name].objective.evaluate, params, test)["accuracy"],
            "curve|step": record["validation/accuracy/step"],
            "curve|accuracy": record["validation/accuracy"],
        }

    found: dict[str, dict[str, np.ndarray]] = {}
    for name, arrays in run_tasks(run, tasks, config, measured):
        found[name] = arrays
        print(f"{name}: {METRICS['accuracy'].label} {float(arrays['accuracy']):.1%}", flush=True)
    for (
        name,
        net,
    ) in found.items():  # one after another, so that all are timed on the same machine as it is now
        net["seconds_a_step"] = np.array(seconds_a_step(tasks[name], config, run.devices))
    run.write_arrays("mnist", {f"{name}|{key}": v for name, net in found.items() for key, v in net.items()})
    simple = run.cached("baselines", lambda: {"nearest class mean": nearest_mean(images)})
    baselines = {problem.trivial: problem.baseline, **{k: float(v) for k, v in simple.items()}}
    run.write_arrays("baselines", {name: np.array(value) for name, value in baselines.items()})
    table = format_table(config.data.title, found, baselines, len(images["test"]))
    run.write_table(table)
    draw(run.folder)
    results = {n: {k: float(v) for k, v in net.items() if np.ndim(v) == 0} for n, net in found.items()}
    run.finish({"cells": results, "baselines": baselines})
    return table


def format_table(
    title: str, nets: Mapping[str, Mapping[str, np.ndarray]], baselines: Mapping[str, float], count: int
) -> str:
    """Formats a row for each cell and each baseline."""
    width = max(map(len, (*nets, *baselines)))
    lines = [
        f"{title}: accuracy on {count:,} test images",
        "",
        f"{'':<{width}}  {'accuracy':>8}  {'parameters':>10}  {'steps':>6}  {'ms a step':>9}  {'minutes':>7}",
    ]
    for name, net in nets.items():
        lines.append(
            f"{name:<{width}}  {float(net['accuracy']):>8.1%}  {int(net['parameters']):>10,}  "
            f"{int(net['steps']):>6,}  {1e3 * float(net['seconds_a_step']):>9.1f}  {minutes_of(net):>7.2f}"
        )
    lines += [f"{name:<{width}}  {value:>8.1%}" for name, value in baselines.items()]
    return "\n".join(lines)


def minutes_of(net: Mapping[str, np.ndarray]) -> float:
    """Returns the minutes that a cell's steps take."""
    return float(net["steps"] * net["seconds_a_step"]) / 60


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    from analysis.figures.curves import curves_against_minutes
    from analysis.figures.style import save

    config, arrays = stored_config(Config, folder), read_arrays(folder, "mnist")
    curves = {}
    for name in map(config.name, config.cells):
        minutes = arrays[f"{name}|curve|step"] * float(arrays[f"{name}|seconds_a_step"]) / 60
        curves[name] = {"minutes": minutes, "value": arrays[f"{name}|curve|accuracy"]}
    baselines = {name: float(value) for name, value in read_arrays(folder, "baselines").items()}
    figure = curves_against_minutes(curves, y_label="accuracy, held out", baselines=baselines)
    return save(figure, folder / "figures", "accuracy_against_minutes")
