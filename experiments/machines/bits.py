"""The tasks of the Neural Turing machine as `Task`s: their sizes, their loss in bits a sequence, answers to beat.

A task has a size that sequences of training go up to, and that can be drawn longer for a test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from data import Batch, TaskBatches, split_key
from data.synthetic import turing_tasks as tasks
from data.synthetic.batches import MakeBatch
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.objective import measured_by
from experiments.problems import from_task, threefry
from experiments.task import Data, Metric, Recurrence, Task
from models import Cell, SequenceTagger
from models.cell import Array
from models.recurrence.methods import Method
from train import SumCount

TaskName = Literal["copy", "repeat_copy", "associative_recall", "dynamic_ngrams", "priority_sort"]
METRICS: Mapping[str, Metric] = {
    "bits": Metric("bits a sequence", ".3f", scale="log"),
    "wrong": Metric("wrong bits a sequence", ".3f", scale="log"),
}
GUESSING, BAYES = "guessing", "Bayes estimator"


@dataclass(frozen=True)
class Sizes:
    """Sizes of the sequences to train on. Raises UserError for one that leaves nothing to ask."""

    copied: int = 20
    """copy: the most vectors; a sequence has 1 to so many."""
    repeated: int = 10
    """repeat_copy: the most vectors."""
    repeats: int = 10
    """repeat_copy: the most repeats."""
    items: int = 6
    """associative_recall: the most items; a sequence has 2 to so many."""
    bits: int = 200
    """dynamic_ngrams: bits of a sequence, of which all but the first five are predicted."""
    vectors: int = 20
    """priority_sort: the vectors of a sequence."""
    sorted: int = 16
    """priority_sort: how many of them to give, by falling priority."""

    def __post_init__(self) -> None:
        check_at_least(
            1, **{f"sizes.{name}": getattr(self, name) for name in ("copied", "repeated", "repeats")}
        )
        check_at_least(2, **{"sizes.items": self.items})
        check_at_least(tasks.CONTEXT + 1, **{"sizes.bits": self.bits})
        check_at_least(1, **{"sizes.vectors": self.vectors, "sizes.sorted": self.sorted})
        if self.sorted > self.vectors:
            raise UserError(
                "--sizes.sorted", f"{self.sorted} are more than there are: --sizes.vectors is {self.vectors}"
            )


def maker(name: TaskName, sizes: Sizes) -> MakeBatch:
    """Returns the function that makes batches of training sequences."""
    match name:
        case "copy":
            return partial(tasks.copy, longest=sizes.copied)
        case "repeat_copy":
            return partial(tasks.repeat_copy, longest=sizes.repeated, repeats=sizes.repeats)
        case "associative_recall":
            return partial(tasks.associative_recall, most=sizes.items)
        case "dynamic_ngrams":
            return partial(tasks.dynamic_ngrams, length=sizes.bits)
        case "priority_sort":
            return partial(tasks.priority_sort, count=sizes.vectors, asked=sizes.sorted)


def longer(name: TaskName, sizes: Sizes, factor: int) -> dict[str, tuple[int, MakeBatch]]:
    """Returns makers of sequences all as long as the longest of training, `factor` times over, by what is longer,
    each with its size. The numbers of a repeat copy are scaled as in training."""
    match name:
        case "copy":
            n = sizes.copied * factor
            return {"vectors": (n, partial(tasks.copy, longest=n, shortest=n))}
        case "repeat_copy":
            n, r = sizes.repeated, sizes.repeats
            vectors = partial(tasks.repeat_copy, longest=n * factor, repeats=r, shortest=n * factor, fewest=r)
            repeats = partial(
                tasks.repeat_copy, longest=n, repeats=r * factor, shortest=n, fewest=r * factor, most=r
            )
            return {"vectors": (n * factor, vectors), "repeats": (r * factor, repeats)}
        case "associative_recall":
            n = sizes.items * factor
            return {"items": (n, partial(tasks.associative_recall, most=n, fewest=n))}
        case "dynamic_ngrams":
            n = sizes.bits * factor
            return {"bits": (n, partial(tasks.dynamic_ngrams, length=n))}
        case "priority_sort":
            n, asked = sizes.vectors * factor, sizes.sorted * factor
            return {"vectors": (n, partial(tasks.priority_sort, count=n, asked=asked))}


def held_out(make: MakeBatch, count: int = 100) -> Batch:
    """Makes one batch of test sequences."""
    found = TaskBatches(make, split_key(threefry(0), "test"), count).take(1)
    return jax.tree.map(lambda leaf: leaf[0], found)


def bit_costs(logits: Array, batch: Batch) -> dict[str, SumCount]:
    """Measures `bits`, Σ −log₂ p of the bits asked for, and the `wrong` ones, a sequence: `logits [T, B, W]`,
    targets as in `data.synthetic.turing_tasks`."""
    targets, mask = jnp.asarray(batch.targets), jnp.asarray(batch.mask)
    asked = mask[..., None] & (targets != tasks.NOT_ASKED)
    one = targets > 0
    costs = (jax.nn.softplus(logits) - jnp.where(one, logits, 0)) / np.log(2)
    count = jnp.sum(jnp.any(mask, axis=0), dtype=jnp.float32)
    return {
        "bits": (jnp.sum(jnp.where(asked, costs, 0)), count),
        "wrong": (jnp.sum(asked & ((logits > 0) != one), dtype=jnp.float32), count),
    }


def answers(name: TaskName, batches: Sequence[Batch]) -> dict[str, dict[str, float]]:
    """Returns what the answers to beat cost: a fair coin, and for the n-grams the best estimator there is."""
    count = sum(batch.mask.any(axis=0).sum() for batch in batches)
    asked = sum(
        (np.asarray(batch.targets != tasks.NOT_ASKED) & np.asarray(batch.mask)[..., None]).sum()
        for batch in batches
    )
    found = {GUESSING: {"bits": float(asked / count), "wrong": float(asked / count / 2)}}
    if name == "dynamic_ngrams":
        total = sum(float(jnp.sum(tasks.bayes_ngrams(bits_of(batch)))) for batch in batches)
        found[BAYES] = {"bits": total / float(count)}
    return found


def bits_of(batch: Batch) -> jax.Array:
    """Returns all bits of n-grams `[T, B]`: the targets, and the first, which are not asked for, from the
    inputs."""
    targets, inputs = jnp.asarray(batch.targets)[..., 0], jnp.asarray(batch.inputs)[..., 0]
    following = jnp.concatenate([inputs[1:], jnp.zeros_like(inputs[:1])]).astype(targets.dtype)
    return jnp.where(targets == tasks.NOT_ASKED, following, targets)


def bit_task(name: TaskName, sizes: Sizes, cell: Cell, method: Method) -> Task:
    """Builds the task of training a cell on one of the tasks."""
    make = maker(name, sizes)
    width = jax.eval_shape(lambda key: make(key, 1), threefry(0)).targets.shape[-1]
    model = SequenceTagger(cell, width, method=method)
    data: Data = from_task(make)
    return Task(
        title=name.replace("_", " "),
        model=model,
        data=data,
        objective=measured_by(model, bit_costs),
        metrics=METRICS,
        select="bits",
        baselines=answers(name, data.test()),
        recurrent=Recurrence(cell, bit_costs),
    )


def parameter_count(params: Any) -> int:
    """Counts the numbers that training changes."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
