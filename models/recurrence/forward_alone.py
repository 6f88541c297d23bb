"""The forward pass alone of a cell in the product form, on the CPU; and what the fused scan shares with it."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, Drive, Output, ProductCell, State, Weights
from models.recurrence.scan import keep_valid, varying_alike

FEW = 4  # steps at a time


def forward_alone(
    cell: ProductCell, reverse: bool, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[State, Output]:
    """Runs the recurrence with nothing kept for a way back.

    A few steps share one product x W and stand one after the other in the loop's body, where XLA fuses the local
    part of a step into one kernel. A drive cut out of a larger array by an index that changes is fused into it too,
    and a GRU's step then takes up to twice as long.
    """
    few = divisor_near(FEW, len(xs)) or 1

    def step(state: State, drive: Drive, valid: Array | None) -> tuple[State, Output]:
        stepped, y = cell.step(weights, state, drive)
        return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)

    def steps(carry: Any, inputs: tuple[Array, Array, Array | None]) -> tuple[Any, None]:
        (state, ys), (ts, xs, mask) = carry, inputs
        drives = driven(cell, weights, xs, mask)
        for i in reversed(range(few)) if reverse else range(few):
            t, drive, valid = jax.tree.map(lambda leaf, i=i: leaf[i], (ts, drives, mask))
            state, y = step(state, drive, valid)
            ys = jax.tree.map(partial(put, t), ys, y)
        return (state, ys), None

    drive, valid = jax.eval_shape(
        lambda xs, mask: jax.tree.map(lambda leaf: leaf[0], (driven(cell, weights, xs, mask), mask)),
        *jax.tree.map(lambda leaf: leaf[:1], (xs, mask)),
    )
    row = jax.eval_shape(step, state, drive, valid)[1]
    ys = jax.tree.map(lambda row: jnp.zeros((len(xs), *row.shape), row.dtype), row)
    start, inputs = varying_alike(((state, ys), in_blocks((jnp.arange(len(xs)), xs, mask), few)))
    return jax.lax.scan(steps, start, inputs, reverse=reverse)[0]


def divisor_near(wanted: int, length: int) -> int | None:
    """Returns the divisor of the length nearest to `wanted`; None where all are off by more than twofold."""
    sizes = [size for size in range(math.ceil(wanted / 2), 2 * wanted + 1) if length % size == 0]
    return min(sizes, key=lambda size: abs(math.log(size / wanted)), default=None)


def driven(cell: ProductCell, weights: Weights, xs: Array, mask: Array | None) -> Drive:
    """Returns what the steps of a block take from its inputs."""
    drive = cell.drive(weights, xs)
    return drive if mask is None else cell.masked(drive, mask)


def in_blocks(tree: Any, size: int) -> Any:
    """Cuts leaves `[T, ...]` into `[T / size, size, ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] // size, size, *leaf.shape[1:]), tree)


def put(t: Array, whole: Array, leaf: Array) -> Array:
    """Writes `leaf` at t of `whole [T, ...]`."""
    return jax.lax.dynamic_update_index_in_dim(whole, leaf, t, 0, allow_negative_indices=False)
