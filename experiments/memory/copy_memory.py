"""Recall ten symbols after a long run of blanks. Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016."""

from dataclasses import dataclass
from pathlib import Path

from experiments.harness.checks import check_at_least
from experiments.harness.files import read_run
from experiments.harness.run import Run
from experiments.problems import check_direction, check_problem_fits, copy_problem, run_problem
from experiments.task import METRICS
from experiments.task_report import draw_task
from experiments.training import TrainingConfig


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Copy."""

    length: int = 30
    """Blanks between the symbols and their recall, T; sequences are T + 20 long."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, length=self.length)
        check_direction(self.network)

    def check(self) -> None:
        """Raises ValueError for a network that can't be built or trained in the free memory."""
        super().check()
        check_problem_fits(self, copy_problem(self.length))


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    return run_problem(run, config, copy_problem(config.length))


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run, from its arrays."""
    return draw_task(folder, METRICS, copy_problem(read_run(folder)["config"]["length"]).metric)
