"""The memory that a run needs at least, from shapes alone, so that one that can't fit is refused before it begins.

What is counted is held all at once, whatever the compiler does: parameters with their gradient and the optimizer's
state, the batches of a chunk, the held-out data, and what the forward pass keeps for the backward pass. XLA holds
1.3 to 3 times as much as that last part, so that nothing is refused that fits.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
from flax import linen as nn

from experiments.objective import Objective
from experiments.task import Data, Options, Task
from models import Cell
from models.cell import Array
from models.recurrence.free_memory import available_memory
from models.state import ravel_coordinates
from train import LoopConfig, LossFn, OptimizerConfig, create_state
from train.config import Precision
from train.precision import in_precision


class Part(NamedTuple):
    """Bytes that are held, and what to take for fewer of them."""

    size: int
    instead: str


def nbytes(tree: Any) -> int:
    """Adds up the bytes of the leaves of a pytree of arrays or shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def check_fits(parts: Mapping[str, Part]) -> None:
    """Raises ValueError, naming the largest part and what to take for less, where all are more than is free."""
    total, free = sum(part.size for part in parts.values()), available_memory()
    if free is None or total <= free:
        return
    what, part = max(parts.items(), key=lambda item: item[1].size)
    needed, largest = gibibytes(total), gibibytes(part.size)
    held = f"{needed} for {what}" if largest == needed else f"{needed}, {largest} of it for {what}"
    raise ValueError(f"this run needs at least {held}, and {gibibytes(free)} are free: take {part.instead}")


def gibibytes(size: int) -> str:
    """Writes a number of bytes in GiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**30:.2g} GiB"


def check_training_fits(
    model: Any,
    data: Data,
    objective: Objective,
    batch_size: int,
    loop: LoopConfig,
    optimizer: OptimizerConfig,
) -> None:
    """Raises ValueError where training a model on batches of known shapes needs more memory than is free."""
    if data.shapes is None:
        return
    batch = data.shapes(batch_size)
    parts = {
        "batches": Part(
            nbytes(batch) * loop.longest_chunk,
            "shorter sequences, a smaller --batch-size or a smaller --chunk",
        ),
        "held-out data": Part(nbytes(data.shapes(data.held_out)), "shorter sequences"),
    }
    check_fits(parts)  # before a model of such inputs is traced

    params = shapes_of(Initial(model), batch)
    carry = () if objective.first_carry is None else jax.eval_shape(objective.first_carry, params)
    state = jax.eval_shape(lambda p: create_state(p, optimizer, jax.random.key(0)), params)
    parts["parameters, gradient and optimizer"] = Part(
        nbytes(params) + nbytes(state), "a smaller --hidden-size, or smaller sizes in --cell"
    )
    check_fits(parts)
    part = data.shapes(-(-batch_size // loop.accumulate))  # of the batch, computed at once
    carry = jax.tree.map(lambda leaf: part_of(leaf, loop.accumulate), carry)
    parts["the backward pass"] = Part(
        nbytes(shapes_of(SavedForBackward(objective.loss, loop.precision), params, carry, part)),
        "shorter sequences, a larger --accumulate, a smaller --batch-size or a smaller --hidden-size",
    )
    check_fits(parts)


def part_of(leaf: Any, parts: int) -> jax.ShapeDtypeStruct:
    """Returns the shape of one of the parts of a carry's leaf."""
    return jax.ShapeDtypeStruct((leaf.shape[0] // parts, *leaf.shape[1:]), leaf.dtype)


@dataclass(frozen=True)
class Initial:
    """The parameters of a model that reads a batch."""

    model: nn.Module

    def __call__(self, batch: Any) -> Any:
        return self.model.init(jax.random.key(0), batch.inputs, mask=batch.mask)


@dataclass(frozen=True)
class SavedForBackward:
    """The arrays that a loss's backward pass reads."""

    loss: LossFn
    precision: Precision = "float32"

    def __call__(self, params: Any, carry: Any, batch: Any) -> Any:
        computed = in_precision(self.loss, self.precision)

        def loss(params: Any) -> Any:
            return computed(params, carry, batch, jax.random.key(0))[0][0]

        return jax.vjp(loss, params)[1]


def shapes_of(function: Callable[..., Any], *given: Any) -> Any:
    """Returns the shapes that a function gives for given ones; equal functions of equal shapes are traced once, as
    a run asks for the same before and after its folder is made."""
    leaves, structure = jax.tree.flatten(given)
    return traced_once(function, tuple(leaves), structure)


@lru_cache(maxsize=64)
def traced_once(function: Callable[..., Any], leaves: tuple[Any, ...], structure: Any) -> Any:
    """Traces a function of the leaves of its arguments."""
    return jax.eval_shape(function, *jax.tree.unflatten(structure, leaves))


def check_task_fits(task: Task, options: Options) -> None:
    """Raises ValueError where training a task with these options needs more memory than is free."""
    check_training_fits(
        task.model, task.data, task.objective, options.batch_size, options.loop, options.optimizer
    )


def check_jacobians_fit(cell: Cell, input_size: int, steps: int, trajectories: int) -> None:
    """Raises ValueError where the Jacobians `[trajectories, T, S, S]` and a copy of them are more than is free."""

    def coordinates() -> Array:
        return ravel_coordinates(cell, cell.initial_state(cell.init(jax.random.key(0), input_size)))[0]

    size = jax.eval_shape(coordinates).size
    jacobians = Part(
        2 * 4 * trajectories * steps * size**2, "a smaller --hidden-size or fewer --trajectories"
    )
    check_fits({f"the Jacobians [{trajectories}, {steps}, {size}, {size}] and a copy": jacobians})
