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


Selection = Callable[[Mapping[str, float]], float]
"""`means of an evaluation -> score`, lower is better."""


def selection_score(evaluation: Mapping[str, float], selection: Selection | None) -> float | None:
    """Returns the score of an evaluation; None if it isn't finite, or without a selection among several metrics."""
    if selection is None and len(evaluation) != 1:
        return None
    score = selection(evaluation) if selection is not None else next(iter(evaluation.values()))
    return score if math.isfinite(score) else None


def scores(
    records: Iterable[Mapping[str, Any]], names: Iterable[str], selection: Selection | None
) -> list[float]:
    """Returns the scores of all evaluations so far, given as records of these metrics; ∞ for one that isn't finite.

    Raises ValueError without a selection among several metrics.
    """
    names = list(names)
    if selection is None and len(names) != 1:
        raise ValueError(
            f"validation_plateau needs to know which of {', '.join(names)} to watch: give a selection"
        )
    found = [
        selection_score({name: record[name] for name in names if name in record}, selection)
        for record in records
    ]
    return [math.inf if score is None else score for score in found]
