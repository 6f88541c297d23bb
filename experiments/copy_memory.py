"""Copy: ten symbols recalled after a stretch of blanks. Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax.numpy as jnp

from data import COPY_BLANK, COPY_CATEGORIES, Batch, copy_baseline, copy_memory
from experiments.network import NetworkConfig
from experiments.objective import tagging
from experiments.problem import Problem, from_task
from experiments.run import Run
from experiments.run_files import read_run
from experiments.task import METRICS, draw_task, run_task
from experiments.training import TrainingConfig
from models.cell import Array, at_least
from train import SumCount, accuracy


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Copy."""

    length: int = 30
    """Blanks between the symbols and their recall, T; sequences are T + 20 long."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, length=self.length)
        check_direction(self.network)


def check_direction(network: NetworkConfig) -> None:
    """Raises ValueError for a net that is asked before it has read."""
    if network.direction == "backward":
        raise ValueError(
            "a net that reads backward is asked for the symbols of copy_memory before it has seen them: take "
            "--direction forward or both"
        )


def recall(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """As `tagging`, and `recalled`: the accuracy where a symbol is to be recalled, the blanks apart."""
    targets = jnp.asarray(batch.targets)
    asked = jnp.asarray(batch.mask) & (targets != COPY_BLANK)
    return tagging(logits, batch) | {"recalled": accuracy(logits, targets, asked)}


def problem(length: int) -> Problem:
    """Copy after so many blanks."""
    return Problem(
        title=f"copy after {length} blanks",
        data=from_task(partial(copy_memory, blanks=length)),
        measure=recall,
        classes=COPY_CATEGORIES,
        metric="cross_entropy",
        baseline=copy_baseline(length),
        trivial="recall by chance",
        each_step=True,
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
