"""Temporal order: which of two symbols came first, long ago. Hochreiter & Schmidhuber 1997."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data import temporal_order, temporal_order_baseline
from experiments.problem import Problem, draw_curve, from_task, solve
from experiments.run import Run
from experiments.run_files import read_run
from experiments.training import TrainingConfig, classification
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
    """Trains, tests and draws; returns what there is to say."""
    return solve(run, config, problem(config.length))


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    return draw_curve(folder, problem(read_run(folder)["config"]["length"]))
