"""The forward pass without residuals of a cell in the product form, on the CPU; and helpers of the fused scan."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, Drive, Output, ProductCell, State, Weights
from models.recurrence.scan import compute_drive, keep_valid, match_varying_axes

STEPS_PER_ITERATION = 4  # of the scan


def forward_only(
    cell: ProductCell, reverse: bool, weights: Weights, state: State, xs: Array, mask: Array | None
) -> tuple[State, Output]:
    """Runs the recurrence without keeping residuals for a backward pass.

    A few steps share one product x W and are unrolled in the loop's body, where XLA fuses the local part of a step
    into one kernel. If the drive were sliced from a larger array by a dynamic index, the slice would be fused
    too, and a GRU's step would take up to twice as long.
    """
    count = nearest_divisor(STEPS_PER_ITERATION, len(xs)) or 1

    def step(state: State, drive: Drive, valid: Array | None) -> tuple[State, Output]:
        stepped, y = cell.step(weights, state, drive)
        return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)

    def steps(carry: Any, inputs: tuple[Array, Array, Array | None]) -> tuple[Any, None]:
        (state, ys), (ts, xs, mask) = carry, inputs
        drives = compute_drive(cell, weights, xs, mask)
        for i in reversed(range(count)) if reverse else range(count):
            t, drive, valid = jax.tree.map(lambda leaf, i=i: leaf[i], (ts, drives, mask))
            state, y = step(state, drive, valid)
            ys = jax.tree.map(partial(write_at, t), ys, y)
        return (state, ys), None

    drive, valid = jax.eval_shape(
        lambda xs, mask: jax.tree.map(lambda leaf: leaf[0], (compute_drive(cell, weights, xs, mask), mask)),
        *jax.tree.map(lambda leaf: leaf[:1], (xs, mask)),
    )
    row = jax.eval_shape(step, state, drive, valid)[1]
    ys = jax.tree.map(lambda row: jnp.zeros((len(xs), *row.shape), row.dtype), row)
    start, inputs = match_varying_axes(((state, ys), split_blocks((jnp.arange(len(xs)), xs, mask), count)))
    return jax.lax.scan(steps, start, inputs, reverse=reverse)[0]


def nearest_divisor(wanted: int, length: int) -> int | None:
    """Returns the divisor of the length nearest to `wanted`; None if none is within a factor of two."""
    sizes = [size for size in range(math.ceil(wanted / 2), 2 * wanted + 1) if length % size == 0]
    return min(sizes, key=lambda size: abs(math.log(size / wanted)), default=None)


def split_blocks(tree: Any, size: int) -> Any:
    """Reshapes leaves `[T, ...]` to `[T / size, size, ...]`."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0] // size, size, *leaf.shape[1:]), tree)


def write_at(t: Array, whole: Array, leaf: Array) -> Array:
    """Writes `leaf` at index t of `whole [T, ...]`."""
    return jax.lax.dynamic_update_index_in_dim(whole, leaf, t, 0, allow_negative_indices=False)
