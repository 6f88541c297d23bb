"""Exact means over uneven batches."""

import math
from collections.abc import Callable, Iterable
from functools import partial

import jax

from train.metrics import SumCount
from train.state import PyTree

EvalFn = Callable[[PyTree, PyTree], dict[str, SumCount]]
"""`(params, batch) -> {metric: (sum, count)}`, hashed by `jit` as a `LossFn` is."""


def evaluate(eval_fn: EvalFn, params: PyTree, batches: Iterable[PyTree]) -> dict[str, float]:
    """The mean of every metric over all that the batches hold: Σ sums / Σ counts, added up in float64.

    Args:
        eval_fn: see `EvalFn`.
        params: the parameters.
        batches: batches of any sizes (each new size is compiled once).

    Raises:
        ValueError: there is no batch, or nothing in them counts.
    """
    # All batches are sent off before the first result is waited for.
    results = jax.device_get([_evaluate_batch(params, batch, eval_fn=eval_fn) for batch in batches])
    if not results:
        raise ValueError("there is nothing to evaluate on: the list of batches is empty")
    means = {}
    for name in results[0]:
        total = math.fsum(float(result[name][0]) for result in results)
        count = math.fsum(float(result[name][1]) for result in results)
        if count == 0:
            raise ValueError(
                f"there is nothing to evaluate {name!r} on: every place of every batch is masked"
            )
        means[name] = total / count
    return means


@partial(jax.jit, static_argnames="eval_fn")
def _evaluate_batch(params: PyTree, batch: PyTree, *, eval_fn: EvalFn) -> dict[str, SumCount]:
    return eval_fn(params, batch)
