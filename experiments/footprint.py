"""The memory that a run needs at least, from shapes alone, so that one that can't fit is refused before it begins.

What is counted is held all at once, whatever the compiler does: parameters with their gradient and the optimizer's
state, the batches of a chunk, the held-out data, and what the forward pass keeps for the backward pass. XLA holds
1.3 to 3 times as much as that last part, so that nothing is refused that fits.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from experiments.objective import Objective
from experiments.task import Data, Options, Task
from models import Cell
from models.cell import Array
from models.recurrence.free_memory import available_memory
from models.state import ravel_coordinates
from train import LoopConfig, OptimizerConfig, create_state
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

    def initial(batch: Any) -> Any:
        return model.init(jax.random.key(0), batch.inputs, mask=batch.mask)

    params = jax.eval_shape(initial, batch)
    carry = () if objective.first_carry is None else jax.eval_shape(objective.first_carry, params)
    state = jax.eval_shape(lambda p: create_state(p, optimizer, jax.random.key(0)), params)
    parts["parameters, gradient and optimizer"] = Part(
        nbytes(params) + nbytes(state), "a smaller --hidden-size, or smaller sizes in --cell"
    )
    check_fits(parts)
    part = data.shapes(-(-batch_size // loop.accumulate))  # of the batch, computed at once
    carry = jax.tree.map(lambda leaf: part_of(leaf, loop.accumulate), carry)
    computed = dataclasses.replace(objective, loss=in_precision(objective.loss, loop.precision))
    saved = jax.eval_shape(saved_for_backward(computed, carry), params, part)
    parts["the backward pass"] = Part(
        nbytes(saved),
        "shorter sequences, a larger --accumulate, a smaller --batch-size or a smaller --hidden-size",
    )
    check_fits(parts)


def part_of(leaf: Any, parts: int) -> jax.ShapeDtypeStruct:
    """Returns the shape of one of the parts of a carry's leaf."""
    return jax.ShapeDtypeStruct((leaf.shape[0] // parts, *leaf.shape[1:]), leaf.dtype)


def saved_for_backward(objective: Objective, carry: Any) -> Callable[[Any, Any], Any]:
    """Returns a function of parameters and batch that gives the arrays that the loss's backward pass reads."""

    def saved(params: Any, batch: Any) -> Any:
        def loss(params: Any) -> Any:
            return objective.loss(params, carry, batch, jax.random.key(0))[0][0]

        return jax.vjp(loss, params)[1]

    return saved


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
