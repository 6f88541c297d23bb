"""Adding: the sum of two marked numbers in a long sequence. Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data import adding, adding_baseline
from experiments.objective import regression
from experiments.problem import Problem, from_task
from experiments.run import Run
from experiments.run_files import read_run
from experiments.task import METRICS, draw_task, run_task
from experiments.training import TrainingConfig
from models.cell import at_least


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Adding."""

    length: int = 100
    """Length of the sequences, T."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, length=self.length)


def problem(length: int) -> Problem:
    """Adding over so many steps."""
    return Problem(
        title=f"adding, length {length}",
        data=from_task(partial(adding, length=length)),
        measure=regression,
        classes=1,
        metric="mean_square_error",
        baseline=adding_baseline(),
        trivial="always answering 1",
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
