"""A model seen from its cell: the cell's inputs within the model, and the loss as a function of the cell's outputs.

The laboratory measures cells. These functions find the cell in any model that holds one in a `Recurrent`, whatever
stands before it (an embedding, say) and after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from data import Batch
from experiments.objective import Measure
from models import Cell, Recurrent, unroll
from models.cell import Array, BatchShape, Drive, Output, Params, State, Weights


@dataclass(frozen=True)
class Replayed(Cell):
    """A cell that gives out the outputs that it is given as parameters, `[T, *batch, ...]`."""

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> State:
        return jnp.zeros(batch_shape)

    def drive(self, weights: Weights, x: Array) -> Drive:
        return weights

    def step(self, weights: Weights, state: State, drive: Drive) -> tuple[State, Output]:
        return state, drive


@dataclass(frozen=True)
class CellView:
    """A model and its loss: the first metric that `measure` returns for the model's outputs on a batch.

    A batch is a `Batch`, or anything with `inputs`, `mask` and what `measure` reads.
    """

    model: nn.Module
    measure: Measure
    method: str = "__call__"  # the model's method that makes the outputs

    def entry(self, params: Params, batch: Any) -> tuple[Params, Array]:
        """Returns the cell's own parameters, and what it reads: `[T, B, D]`, zero where masked."""
        batch = jax.tree.map(jnp.asarray, batch)
        found: list[tuple[Params, Array]] = []

        def enter(call: Any, args: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
            if is_recurrence(context) and not found:
                found.append((context.module.variables["params"]["cell"], args[0]))
            return call(*args, **options)

        with nn.intercept_methods(enter):
            self.model.apply(params, batch.inputs, mask=batch.mask, method=self.method)
        if not found:
            raise ValueError(
                f"a {type(self.model).__name__} holds no Recurrent whose cell could be looked at"
            )
        own, xs = found[0]
        return own, jnp.where(jnp.asarray(batch.mask)[..., None], xs, 0)

    def loss(self, params: Params, batch: Any) -> Callable[[State, Output], Array]:
        """Returns the loss, summed over the batch, as a function of the cell's final state and outputs."""
        batch = jax.tree.map(jnp.asarray, batch)

        def of_outputs(final: State, ys: Output) -> Array:
            def replay(call: Any, args: Any, options: Any, context: nn.module.InterceptorContext) -> Any:
                if not is_recurrence(context):
                    return call(*args, **options)
                run = options.get("run", unroll)
                given = run(Replayed(), ys, args[0], mask=options.get("mask"))
                return (final, given[1]) if run is unroll else given

            with nn.intercept_methods(replay):
                answer = self.model.apply(params, batch.inputs, mask=batch.mask, method=self.method)
            (total, _), *_ = self.measure(jnp.asarray(answer), batch).values()
            return total

        return of_outputs


def is_recurrence(context: nn.module.InterceptorContext) -> bool:
    """Tells whether a call that is under way is that of a model's cell."""
    return isinstance(context.module, Recurrent) and context.method_name == "__call__"


def longest(batch: Batch, count: int) -> Batch:
    """Takes the `count` longest sequences of a batch, without the steps that all of them mask."""
    lengths = np.asarray(batch.mask).sum(axis=0)
    chosen = np.argsort(-lengths, kind="stable")[:count]
    steps = max(int(lengths[chosen].max(initial=0)), 1)
    axes = batch.batch_axes()._asdict()

    def cut(leaf: Any, axis: int) -> np.ndarray:
        taken = np.take(np.asarray(leaf), chosen, axis=axis)
        return taken[:steps] if axis == 1 else taken  # a leaf whose second axis is the batch begins with time

    return Batch(**{name: cut(getattr(batch, name), axis) for name, axis in axes.items()})


def on_first_device(tree: Any) -> Any:
    """Moves to the memory of one device: measurements would else be computed on each."""
    return jax.device_put(tree, jax.local_devices()[0])
