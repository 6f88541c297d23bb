"""Nets side by side, trained on one embedded task: what the experiments on their Jacobians share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import tyro
from flax import linen as nn

from experiments.cell_spec import at_length, parse_cell
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.health import check_health, check_no_cache
from experiments.network import NetworkConfig, check_cells
from experiments.problems import Problem, adding_problem, copy_problem, order_problem
from experiments.training import CELL_HELP
from models import Cell
from train import LoopConfig, OptimizerConfig

TaskName = Literal["adding", "copy_memory", "temporal_order"]
PROBLEMS: dict[TaskName, Callable[[int], Problem]] = {
    "adding": adding_problem,
    "copy_memory": copy_problem,
    "temporal_order": order_problem,
}
CELLS_HELP = f"The cells side by side: {CELL_HELP}. T in a cell's options is the length: lstm(max_lag=T)."
Flat = tyro.conf.arg(name="")


@dataclass(frozen=True)
class NetsConfig:
    """The options of experiments that train several cells on one task and look into each."""

    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=CELLS_HELP)] = ("elman", "gru", "lstm")
    hidden_size: int = 64
    """Units of each cell, H."""
    task: TaskName = "adding"
    """The task to train on."""
    length: int = 50
    """Length of the task's sequences, T; for copy_memory the blanks between the symbols and their recall."""
    batch_size: int = 50
    """Sequences per step, B."""
    seed: int = 0
    """Seed of parameters, training data and random nets; held-out data don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=600, eval_every=100))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_at_least(4, length=self.length)
        check_seed(self.seed)
        check_cells(self.cells)

    def check(self) -> None:
        """Raises ValueError for a cell that cannot be built, before a folder is made for the run."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        problem = self.problem()
        for expression in self.expressions():
            cell = self.cell(expression)
            check_no_cache(cell, "--cells")
            check_health(cell, self.loop)
            check_task_fits(problem.task(problem.model(NetworkConfig(), cell)), self)

    def expressions(self) -> tuple[str, ...]:
        """Returns the cells that are trained, one by one."""
        return self.cells

    def cell(self, expression: str) -> Cell:
        """Returns the cell of an expression, in which T is the length."""
        return parse_cell(at_length(expression, self.length), self.hidden_size)

    def problem(self) -> Problem:
        """Returns the task at the length."""
        return PROBLEMS[self.task](self.length)

    def model(self, expression: str, problem: Problem) -> nn.Module:
        """Returns a model made of the cell that answers the task."""
        return problem.model(NetworkConfig(), self.cell(expression))


def held_out_inputs(problem: Problem, count: int) -> np.ndarray:
    """Returns the first `count` held-out sequences, `[T, count, D]`. Raises ValueError if there are fewer."""
    inputs = np.concatenate([np.asarray(batch.inputs) for batch in problem.data.test()], axis=1)
    if count > inputs.shape[1]:
        raise ValueError(f"{count} held-out sequences are asked for, but there are {inputs.shape[1]}")
    return inputs[:, :count]
