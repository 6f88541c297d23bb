"""Classify 8×8 images of digits read pixel by pixel, in order or permuted. Le, Jaitly & Hinton 2015."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from experiments.harness.files import read_run
from experiments.harness.run import Run
from experiments.problems import check_problem_fits, digits_problem, run_problem
from experiments.task import METRICS
from experiments.task_report import draw_task
from experiments.training import Flat, TrainingConfig
from train import LoopConfig


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Digits."""

    permuted: bool = False
    """Read the pixels in one fixed random order."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=100))

    def check(self) -> None:
        """Raises ValueError for a network that can't be built or trained in the free memory."""
        super().check()
        check_problem_fits(self, digits_problem(self.permuted))


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    return run_problem(run, config, digits_problem(config.permuted))


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run, from its arrays."""
    return draw_task(folder, METRICS, digits_problem(read_run(folder)["config"]["permuted"]).metric)
