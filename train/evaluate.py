"""Exact means over uneven batches."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh

from train.metrics import SumCount
from train.sharding import (
    BATCH_AXIS,
    REPLICATED,
    Paddable,
    batch_mesh,
    batch_size,
    batch_specs,
    divisible_size,
    on_every_device,
    pad_to,
    psum_over,
    shard_map_batch,
)
from train.state import PyTree

EvalFn = Callable[[PyTree, PyTree], dict[str, SumCount]]
"""`(params, batch) -> {metric: (sum, count)}`, hashed by `jit` as a `LossFn` is.

A batch may be one device's shard: its leaves begin with the batch axis, or it has a method `batch_axes()`.
"""


def evaluate(
    eval_fn: EvalFn, params: PyTree, batches: Iterable[PyTree], *, mesh: Mesh | None = None
) -> dict[str, float]:
    """Computes the mean of every metric over all batches: Σ sums / Σ counts, added in float64.

    Args:
        eval_fn: see `EvalFn`.
        params: the parameters.
        batches: batches of any sizes (each new size is compiled once).
        mesh: the devices over which each batch is sharded, by default all of this process; a batch that neither
            divides over them nor can be padded is evaluated on one.

    Raises:
        ValueError: there is no batch, or all counts are zero.
    """
    mesh = batch_mesh() if mesh is None else mesh
    params = on_every_device(params, mesh)
    if mesh.is_multi_process:  # NumPy arrays, as arrays on a process's own devices can't be sharded over all
        batches = map(jax.device_get, batches)
    # One at a time: the CPU would run several at once, each with its own memory.
    results = [
        jax.device_get(_evaluate_batch(params, batch, eval_fn=eval_fn, mesh=mesh)) for batch in batches
    ]
    if not results:
        raise ValueError("there is nothing to evaluate on: the list of batches is empty")
    means = {}
    for name in results[0]:
        summed = math.fsum(float(result[name][0]) for result in results)
        count = math.fsum(float(result[name][1]) for result in results)
        if count == 0:
            raise ValueError(
                f"there is nothing to evaluate {name!r} on: every entry of every batch is masked"
            )
        means[name] = summed / count
    return means


@partial(jax.jit, static_argnames=("eval_fn", "mesh"))
def _evaluate_batch(params: PyTree, batch: PyTree, *, eval_fn: EvalFn, mesh: Mesh) -> dict[str, SumCount]:
    if mesh.size == 1:
        return eval_fn(params, batch)
    size = divisible_size(batch_size(batch), mesh)
    if size != batch_size(batch) and not isinstance(batch, Paddable):
        return eval_fn(params, batch)
    batch = pad_to(batch, size)

    def evaluate_shard(params: PyTree, batch: PyTree) -> dict[str, SumCount]:
        return psum_over(eval_fn(params, batch), BATCH_AXIS)

    return shard_map_batch(evaluate_shard, mesh, (REPLICATED, batch_specs(batch)), REPLICATED)(params, batch)


NO_METRICS = ("step", "split", "seconds")  # of a record of an evaluation

Selection = Callable[[Mapping[str, float]], float | None]
"""`means of an evaluation -> score`, lower is better; None if the evaluation didn't measure it."""


def score_of(evaluation: Mapping[str, float], selection: Selection | None) -> float | None:
    """Returns the score of an evaluation; None if it wasn't measured, or without a selection among several
    metrics."""
    if selection is None:
        return next(iter(evaluation.values())) if len(evaluation) == 1 else None
    return selection(evaluation)


def selection_score(evaluation: Mapping[str, float], selection: Selection | None) -> float | None:
    """Returns the score of an evaluation if there is one and it is finite, else None."""
    score = score_of(evaluation, selection)
    return score if score is not None and math.isfinite(score) else None


def scores(records: Iterable[Mapping[str, Any]], selection: Selection | None) -> list[float]:
    """Returns the scores of the evaluations that measured it, given as records of a log; ∞ for one that isn't
    finite.

    Raises ValueError without a selection among several metrics.
    """
    evaluations = [{k: v for k, v in record.items() if k not in NO_METRICS} for record in records]
    if selection is None and any(len(metrics) != 1 for metrics in evaluations):
        names = ", ".join(evaluations[-1])
        raise ValueError(f"validation_plateau needs to know which of {names} to watch: give a selection")
    found = [score_of(metrics, selection) for metrics in evaluations]
    return [score if math.isfinite(score) else math.inf for score in found if score is not None]
