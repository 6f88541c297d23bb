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

A batch may be one device's share of it: its leaves begin with the batch axis, or it has a method `batch_axes()`.
"""


def evaluate(
    eval_fn: EvalFn, params: PyTree, batches: Iterable[PyTree], *, mesh: Mesh | None = None
) -> dict[str, float]:
    """The mean of every metric over all that the batches hold: Σ sums / Σ counts, added up in float64.

    Args:
        eval_fn: see `EvalFn`.
        params: the parameters.
        batches: batches of any sizes (each new size is compiled once).
        mesh: the devices that share each batch, by default all of this process; a batch that doesn't divide over
            them and can't be filled up goes to one.

    Raises:
        ValueError: there is no batch, or nothing in them counts.
    """
    mesh = batch_mesh() if mesh is None else mesh
    params = on_every_device(params, mesh)
    if (
        mesh.is_multi_process
    ):  # what each process has made is its own; as NumPy's arrays they are the same to all
        batches = map(jax.device_get, batches)
    # One after the other: the CPU would run several at once, each with memory of its own.
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
                f"there is nothing to evaluate {name!r} on: every place of every batch is masked"
            )
        means[name] = summed / count
    return means


@partial(jax.jit, static_argnames=("eval_fn", "mesh"))
def _evaluate_batch(params: PyTree, batch: PyTree, *, eval_fn: EvalFn, mesh: Mesh) -> dict[str, SumCount]:
    if mesh.size == 1:
        return eval_fn(params, batch)
    full = divisible_size(batch_size(batch), mesh)
    if full != batch_size(batch) and not isinstance(batch, Paddable):
        return eval_fn(params, batch)
    batch = pad_to(batch, full)

    def share(params: PyTree, batch: PyTree) -> dict[str, SumCount]:
        return psum_over(eval_fn(params, batch), BATCH_AXIS)

    return shard_map_batch(share, mesh, (REPLICATED, batch_specs(batch)), REPLICATED)(params, batch)


Judge = Callable[[Mapping[str, float]], float]
"""`means of an evaluation -> a score`, lower for a better state."""


def selection_score(evaluation: Mapping[str, float], judge: Judge | None) -> float | None:
    """The score of an evaluation; None where nobody says which of its figures counts, or that isn't finite."""
    if judge is None and len(evaluation) != 1:
        return None
    score = judge(evaluation) if judge is not None else next(iter(evaluation.values()))
    return score if math.isfinite(score) else None


def scores(records: Iterable[Mapping[str, Any]], names: Iterable[str], judge: Judge | None) -> list[float]:
    """The scores of all evaluations so far, each a record of these figures; ∞ for one that isn't finite.

    Raises ValueError where nobody says which of several figures counts.
    """
    names = list(names)
    if judge is None and len(names) != 1:
        raise ValueError(f"validation_plateau can't tell which of {', '.join(names)} to watch: give a judge")
    found = [
        selection_score({name: record[name] for name in names if name in record}, judge) for record in records
    ]
    return [math.inf if score is None else score for score in found]
