"""Delayed recall as a problem: at every step the number that was shown so many steps ago. Engelken 2023."""

from functools import partial

import jax.numpy as jnp

from data import Batch, delayed_recall, delayed_recall_baseline
from experiments.problem import Problem, from_task
from models.cell import Array
from train import SumCount, square_error


def recall_error(outputs: Array, batch: Batch) -> dict[str, SumCount]:
    """One number a step: `outputs` and targets `[T, B, 1]`."""
    return {"mean_square_error": square_error(outputs, jnp.asarray(batch.targets), jnp.asarray(batch.mask))}


def problem(delay: int, length: int) -> Problem:
    """Delayed recall of a number shown so many steps ago."""
    return Problem(
        title=f"delayed recall after {delay} steps",
        data=from_task(partial(delayed_recall, length=length, delay=delay)),
        measure=recall_error,
        classes=1,
        metric="mean_square_error",
        baseline=delayed_recall_baseline(length, delay),
        trivial="always answering 0",
        each_step=True,
    )
