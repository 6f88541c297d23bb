"""Tell in which order two symbols came long ago. Hochreiter & Schmidhuber 1997."""

from dataclasses import dataclass
from pathlib import Path

from experiments.harness.checks import check_at_least
from experiments.harness.files import read_run
from experiments.harness.run import Run
from experiments.problems import check_problem_fits, order_problem, run_problem
from experiments.task import METRICS
from experiments.task_report import draw_task
from experiments.training import TrainingConfig


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Temporal order."""

    length: int = 100
    """Length of the sequences, T."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(4, length=self.length)

    def check(self) -> None:
        """Raises ValueError for a network that can't be built or trained in the free memory."""
        super().check()
        check_problem_fits(self, order_problem(self.length))


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    return run_problem(run, config, order_problem(config.length))


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run, from its arrays."""
    return draw_task(folder, METRICS, order_problem(read_run(folder)["config"]["length"]).metric)
