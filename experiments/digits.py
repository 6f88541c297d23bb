"""Digits: real 8×8 images read pixel by pixel, 64 steps, in order or permuted. Le, Jaitly & Hinton 2015."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from data import DIGITS_CLASSES, ArrayExamples, Batch, digits, evaluation_batches, train_batches
from data.batch import Batches
from experiments.objective import classification
from experiments.problem import Problem
from experiments.processes import mine
from experiments.run import Run
from experiments.run_files import read_run
from experiments.task import METRICS, Data, draw_task, run_task
from experiments.training import Flat, TrainingConfig
from train import LoopConfig


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Digits."""

    permuted: bool = False
    """Read the pixels in one fixed random order."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=100))


def problem(permuted: bool, gain: float = 1.0) -> Problem:
    """Digits, the pixels in order or permuted, times a gain."""

    def images(split: str) -> ArrayExamples:
        examples = digits(split, permuted=permuted)
        return ArrayExamples(np.float32(gain) * examples.inputs, examples.targets)

    def train(seed: int, batch_size: int) -> Batches:
        return train_batches(images("train"), batch_size=batch_size, seed=seed, **mine())

    def held_out(split: str) -> list[Batch]:
        return list(evaluation_batches(images(split), batch_size=270))

    return Problem(
        title=f"digits, pixels {'permuted' if permuted else 'in order'}",
        data=Data(train, lambda: held_out("validation"), lambda: held_out("test"), "270 test images"),
        measure=classification,
        classes=DIGITS_CLASSES,
        metric="accuracy",
        baseline=1 / DIGITS_CLASSES,
        trivial="guessing",
    )


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    asked = problem(config.permuted)
    return run_task(
        run, asked.task(asked.model(config.network, config.layer())), config, label=config.label()
    )


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run, from its arrays."""
    return draw_task(folder, METRICS, problem(read_run(folder)["config"]["permuted"]).metric)
