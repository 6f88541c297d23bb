"""Goals: when a problem counts as solved, and what came of training a net to reach one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from experiments.problems import Problem, adding_problem, copy_problem
from experiments.task import METRICS
from experiments.task_report import training_record
from train import NonFinite

GoalName = Literal["adding", "copy_memory"]


@dataclass(frozen=True)
class Goal:
    """A task, and when it counts as solved: the metric of an evaluation beyond a bound."""

    problem: Callable[[int], Problem]
    metric: str
    bound: float
    high: bool  # whether more is better

    def reached(self, evaluation: Mapping[str, float]) -> bool:
        """Tells whether an evaluation solves the task."""
        value = evaluation[self.metric]
        return value > self.bound if self.high else value < self.bound


GOALS: dict[GoalName, Goal] = {
    "adding": Goal(adding_problem, "mean_square_error", 0.01, high=False),
    "copy_memory": Goal(copy_problem, "recalled", 0.99, high=True),
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of training one net: the steps it was trained, whether they solved the task, its best
    evaluation."""

    solved: bool
    steps: int
    best: float
    diverged: bool = False  # training ended where a loss or gradient wasn't finite

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Outcome":
        """Builds it from the arrays that `vars` of it was written to."""
        return cls(**{field.name: arrays[field.name].item() for field in fields(cls)})


def outcome_of(folder: Path, goal: Goal, met: NonFinite | None = None) -> Outcome:
    """Reads the outcome of the net that was trained in a folder off its metrics; `met` is what ended it early."""
    record = training_record(folder)
    values = record[f"validation/{goal.metric}"]
    return Outcome(
        solved=goal.reached({goal.metric: float(values[-1])}),
        steps=int(record[f"validation/{goal.metric}/step"][-1]) if met is None else met.step - 1,
        best=float(np.nanmax(values) if goal.high else np.nanmin(values)),
        diverged=met is not None,
    )


def format_outcome(goal: Goal, outcome: Outcome) -> str:
    """Formats `solved in 350 steps`, or how near it came."""
    if outcome.solved:
        return f"solved in {outcome.steps} steps"
    metric = METRICS[goal.metric]
    if outcome.diverged:
        return f"not finite after {outcome.steps} steps; best {metric.label} {outcome.best:{metric.format}}"
    return f"not solved in {outcome.steps} steps; best {metric.label} {outcome.best:{metric.format}}"
