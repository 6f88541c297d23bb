"""Compare cells on adding and copy: the lengths they solve, and in how many training steps.

Trains every cell on every task at every length until it solves the task on held-out sequences, or for --steps. A
net whose loss or gradient becomes non-finite has diverged; the others continue.

Adding is solved at a mean square error below 0.01, the threshold of Hochreiter & Schmidhuber (1997); always
answering 1 gives 0.167. Copy is solved when more than 99 % of the symbols are recalled; guessing recalls 12.5 %.
Arjovsky, Shah & Bengio (2016) and Le, Jaitly & Hinton (2015) show whole curves; each net's folder has its own.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from experiments.cell_spec import at_length, label
from experiments.footprint import check_task_fits
from experiments.goals import GOALS, GoalName, Outcome, format_outcome, outcome_of
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays, read_run
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.health import check_health
from experiments.network import NetworkConfig, check_cells
from experiments.problems import check_direction
from experiments.run_task import Trained, run_tasks
from experiments.task import METRICS, Task
from experiments.training import CELL_HELP, Flat
from train import LoopConfig, NonFinite, OptimizerConfig

# What a resumed run must keep of what other experiments may change: a net is solved where it is evaluated.
PINNED = ("loop.eval_every",)
SEVERAL_NETS = True  # one after another: what several processes can't share


CELLS_HELP = f"The cells side by side: {CELL_HELP}. T in a cell's options is the length: lstm(max_lag=T)."
DEFAULT_CELLS = ("elman", "elman(activation=relu, recurrent_init=identity)", "orthogonal", "gru", "lstm")
DEFAULT_CELLS += ("lstm(max_lag=T)", "lru")


@dataclass(frozen=True)
class Config:
    """Long memory."""

    tasks: tuple[GoalName, ...] = ("adding", "copy_memory")
    """Tasks. adding: the sum of two marked numbers; copy_memory: ten symbols after a run of blanks."""
    cells: Annotated[tuple[str, ...], tyro.conf.arg(help=CELLS_HELP)] = DEFAULT_CELLS
    lengths: tuple[int, ...] = (50, 100, 200)
    """Lengths of the sequences, T; for copy_memory the blanks between the symbols and their recall."""
    all_lengths: bool = False
    """Try each cell at every length, even beyond one that it fails on."""
    hidden_size: int = 64
    """Units of each cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    batch_size: int = 50
    """Sequences per step, B."""
    seed: int = 0
    """Seed of parameters and training data; held-out data don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=50))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_seed(self.seed)
        check_cells(self.cells)
        check_distinct(tasks=self.tasks, lengths=self.lengths)
        for length in self.lengths:
            check_at_least(2, lengths=length)
        if self.loop.steps % self.loop.eval_every:
            raise UserError(
                "--steps",
                f"{self.loop.steps} is no multiple of --eval-every {self.loop.eval_every}: a task is "
                "solved at an evaluation, so the last step must be one",
            )

    def check(self) -> None:
        """Raises ValueError for a network that cannot be built, before the run's folder is made."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        if "copy_memory" in self.tasks:
            check_direction(self.network)
        longest = max(self.lengths)
        for cell in self.cells:
            layer = self.network.build(at_length(cell, longest), self.hidden_size)
            check_health(layer, self.loop)
            for task in self.tasks:
                problem = GOALS[task].problem(longest)
                check_task_fits(problem.task(problem.model(self.network, layer)), self)


def main(config: Config, run: Run) -> str:
    """Trains net by net, tabulates and draws; returns the table."""
    outcomes: dict[GoalName, dict[str, dict[int, Outcome]]] = {
        task: {label(cell): solve(config, run, task, cell) for cell in config.cells} for task in config.tasks
    }
    run.write_arrays("outcomes", as_arrays(outcomes))
    table = format_table(config, outcomes)
    run.write_table(table)
    draw(run.folder)
    run.finish(
        {
            task: {cell: {str(t): vars(o) for t, o in found.items()} for cell, found in cells.items()}
            for task, cells in outcomes.items()
        }
    )
    return table


def solve(config: Config, run: Run, name: GoalName, cell: str) -> dict[int, Outcome]:
    """Trains a cell's nets on one task at every length, up to the first that isn't solved."""
    goal = GOALS[name]
    lengths = {f"{name}, {label(cell)}, T = {length}": length for length in sorted(config.lengths)}

    def task(length: int) -> Task:
        problem = goal.problem(length)
        layer = config.network.build(at_length(cell, length), config.hidden_size)
        return problem.task(problem.model(config.network, layer), stop_when=goal.reached)

    def measure(net: str, trained: Trained, folder: Path) -> dict[str, Any]:
        return vars(outcome_of(folder, goal))

    def diverged(net: str, met: NonFinite, folder: Path) -> dict[str, Any]:
        print(met.summary, flush=True)
        return vars(outcome_of(folder, goal, met))

    def path(net: str) -> str:
        return f"nets/{name}/{folder_name(label(cell))}/{lengths[net]}"

    tasks = {net: task(length) for net, length in lengths.items()}
    outcomes: dict[int, Outcome] = {}
    for net, found in run_tasks(run, tasks, config, measure, path=path, diverged=diverged):
        outcomes[lengths[net]] = outcome = Outcome.of(found)
        print(f"{net}: {format_outcome(goal, outcome)}", flush=True)
        if not (outcome.solved or config.all_lengths):
            break
    return outcomes


def as_arrays(outcomes: Mapping[GoalName, Mapping[str, Mapping[int, Outcome]]]) -> dict[str, np.ndarray]:
    """Returns `task|cell|length`, `…|steps` (NaN where not solved) and `…|best`, each `[n]`."""
    arrays: dict[str, np.ndarray] = {}
    for task, cells in outcomes.items():
        for cell, found in cells.items():
            tried = list(found.values())
            arrays[f"{task}|{cell}|length"] = np.array(list(found))
            arrays[f"{task}|{cell}|steps"] = np.array([o.steps if o.solved else math.nan for o in tried])
            arrays[f"{task}|{cell}|best"] = np.array([o.best for o in tried])
    return arrays


def format_table(config: Config, outcomes: Mapping[GoalName, Mapping[str, Mapping[int, Outcome]]]) -> str:
    """Formats a block for each task, a row for each cell, a column for each length."""
    lengths = sorted(config.lengths)
    width = max(len(label(cell)) for cell in config.cells)
    lines: list[str] = []
    for task, cells in outcomes.items():
        goal = GOALS[task]
        metric = METRICS[goal.metric]
        shown = "above" if goal.high else "below"
        lines += [
            f"{task}: steps until {metric.label} {shown} {goal.bound:g}; in brackets the best of "
            f"{config.loop.steps}"
        ]
        lines += ["".join([f"{'cell':<{width}}", *(f"{f'T = {length}':>12}" for length in lengths)])]
        for cell, found in cells.items():
            entries = [
                "not tried" if outcome is None
                else str(outcome.steps) if outcome.solved
                else "diverged" if outcome.diverged
                else f"({outcome.best:{metric.format}})"
                for outcome in map(found.get, lengths)
            ]  # fmt: skip
            lines += ["".join([f"{cell:<{width}}", *(f"{entry:>12}" for entry in entries)])]
        lines += [""]
    return "\n".join(lines).rstrip()


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    from analysis.figures.lengths import steps_to_solve
    from analysis.figures.style import save

    config: dict[str, Any] = read_run(folder)["config"]
    arrays = read_arrays(folder, "outcomes")
    panels = {
        task: {
            label(cell): {key: arrays[f"{task}|{label(cell)}|{key}"] for key in ("length", "steps")}
            for cell in config["cells"]
        }
        for task in config["tasks"]
    }
    titles = {"adding": "adding", "copy_memory": "copy"}
    figure = steps_to_solve({titles[task]: p for task, p in panels.items()}, limit=config["loop"]["steps"])
    return save(figure, folder / "figures", "steps_to_solve")
