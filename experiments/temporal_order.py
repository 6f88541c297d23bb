"""Temporal order: which of two symbols came first, long ago. Hochreiter & Schmidhuber 1997."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data import temporal_order, temporal_order_baseline
from experiments.objective import classification
from experiments.problem import Problem, from_task
from experiments.run import Run
from experiments.run_files import read_run
from experiments.task import METRICS, draw_task, run_task
from experiments.training import TrainingConfig
from models.cell import at_least


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Temporal order."""

    length: int = 100
    """Length of the sequences, T."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(4, length=self.length)


def problem(length: int) -> Problem:
    """Temporal order over so many steps."""
    return Problem(
        title=f"temporal order, length {length}",
        data=from_task(partial(temporal_order, length=length)),
        measure=classification,
        classes=4,
        metric="accuracy",
        baseline=temporal_order_baseline(),
        trivial="guessing",
    )


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    asked = problem(config.length)
    return run_task(
        run, asked.task(asked.model(config.network, config.layer())), config, label=config.label()
    )


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run, from its arrays."""
    return draw_task(folder, METRICS, problem(read_run(folder)["config"]["length"]).metric)
