"""Digits: real 8×8 images read pixel by pixel, 64 steps, in order or permuted. Le, Jaitly & Hinton 2015."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from data import DIGITS_CLASSES, Batch, digits, evaluation_batches, train_batches
from data.batch import Batches
from experiments.problem import Data, Problem, draw_curve, solve
from experiments.processes import mine
from experiments.run import Run
from experiments.run_files import read_run
from experiments.training import Flat, TrainingConfig, classification
from train import LoopConfig


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Digits."""

    permuted: bool = False
    """Read the pixels in one fixed random order."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=100))


def problem(permuted: bool) -> Problem:
    """Digits, the pixels in order or permuted."""

    def train(seed: int, batch_size: int) -> Batches:
        return train_batches(digits("train", permuted=permuted), batch_size=batch_size, seed=seed, **mine())

    def held_out(split: str) -> list[Batch]:
        return list(evaluation_batches(digits(split, permuted=permuted), batch_size=270))

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
    """Trains, tests and draws; returns what there is to say."""
    return solve(run, config, problem(config.permuted))


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    return draw_curve(folder, problem(read_run(folder)["config"]["permuted"]))
