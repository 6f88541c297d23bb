"""A cell through time: one door, `unroll`, and several ways behind it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from models.associative import associative, can_associate
from models.cell import (
    Array,
    BatchShape,
    Cell,
    Drive,
    Key,
    Output,
    Params,
    ProductCell,
    State,
    Weights,
    check_hashable,
)
from models.fused import can_fuse, fused
from models.layer import Layer
from models.newton import newton
from models.pooling import last_valid
from models.scan import checkpointed_scan, scan, varying_alike
from models.ways import Associative, Fused, Info, Method, Newton, Scan, decide


def unroll(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
) -> tuple[State, Output]:
    """Runs a cell over a sequence: `xs [T, *batch, D]` → final state `[*batch, ...]`, outputs `[T, *batch, ...]`.

        w = prepare(params);   s_t, y_t = step(w, s_{t−1}, drive(w, x_t))   for t = 1 … T

    `state` is s_0 (the cell's initial state by default). `reverse` reads from the last step to the first and
    leaves the outputs where their inputs stand. Where `mask [T, *batch]` is False the state stays as it was, the
    output is zero, and nothing of the input, NaN included, reaches a value or a gradient. `key` and `train` are
    handed to the cell's `prepare`.

    Raises ValueError where the shapes of inputs, mask or state don't fit, and TypeError where the cell's step
    doesn't return a state of the form that it was given.
    """
    options: Any = {"mask": mask, "reverse": reverse, "method": method, "key": key, "train": train}
    if isinstance(cell, Layer):
        return cell.unroll(params, xs, state, **options)
    state, ys, _ = unroll_with_info(cell, params, xs, state, **options)
    return state, ys


def last_output(
    cell: Cell,
    params: Params,
    xs: Array,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
) -> Output:
    """Returns what a cell gives of a whole sequence, `[*batch, ...]`: its output at the last valid step that it
    reads, in reverse the first in time. Of two directions each gives that of its own end
    (`Bidirectional.last_output`). Zero for a sequence without a valid step. Arguments as for `unroll`."""
    if isinstance(cell, Layer):
        return cell.last_output(params, xs, mask=mask, reverse=reverse, method=method, key=key, train=train)
    _, ys = unroll(cell, params, xs, mask=mask, reverse=reverse, method=method, key=key, train=train)
    return last_valid(ys, mask, reverse=reverse)


def unroll_with_info(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
    reverse: bool = False,
    method: Method = "auto",
    key: Key | None = None,
    train: bool = False,
) -> tuple[State, Output, Info]:
    """`unroll`, and what the way taken has to tell; for a single cell, not for a stack of them.

    Compiled once for equal cells, options and shapes, called from a compiled function or not.
    """
    if isinstance(cell, Layer):
        raise ValueError(f"a {type(cell).__name__} goes a way in each of its parts: ask them one by one")
    check_hashable(cell)
    return compiled(cell, params, xs, state, mask, key, reverse=reverse, method=method, train=train)


@partial(jax.jit, static_argnames=("cell", "reverse", "method", "train"))
def compiled(
    cell: Cell,
    params: Params,
    xs: Array,
    state: State | None,
    mask: Array | None,
    key: Key | None,
    *,
    reverse: bool,
    method: Method,
    train: bool,
) -> tuple[State, Output, Info]:
    """`unroll_with_info` of a single cell."""
    if xs.ndim < 2:
        raise ValueError(f"xs must be [T, *batch, D], time first and inputs last, but is {list(xs.shape)}")
    batch_shape = xs.shape[1:-1]
    if state is None:
        state = cell.initial_state(params, batch_shape)
    else:
        check_state(cell, params, state, batch_shape)
    if mask is not None:
        check_mask(mask, xs)
        # Zeros in place of what is masked: a NaN times a zero cotangent would still be NaN.
        xs = jnp.where(mask[..., None], xs, 0)
    weights = cell.prepare(params, key=key, train=train, batch_shape=batch_shape)
    weights, state, xs, mask = varying_alike((weights, state, xs, mask))
    check_step(cell, weights, state, xs)
    way, why = decide(method, cell, weights, state, xs, mask)
    if isinstance(way, Fused):
        return *run_fused(cell, weights, state, xs, mask, reverse), Info(way, why)
    drive = cell.drive(weights, xs)
    drive = drive if mask is None else cell.masked(drive, mask)
    if isinstance(way, Newton):
        if train and cell.couples_batch:
            raise ValueError(
                f"method 'newton' can't train {cell}: in training its examples see one another, and Newton's "
                "method takes each by itself; use 'scan'"
            )
        final, ys, told = newton(
            cell, weights, state, drive, batch_shape=batch_shape, options=way, mask=mask, reverse=reverse
        )
        return final, ys, Info(way, why, **told)
    return *run(way, cell, weights, state, drive, mask, reverse), Info(way, why)


def run(
    way: Scan | Associative,
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    mask: Array | None,
    reverse: bool,
) -> tuple[State, Output]:
    """The recurrence by the way given. Raises ValueError where the cell can't go it, naming those that can."""
    match way:
        case Scan(checkpoint_every=every):
            if every is None:
                return scan(cell, weights, state, drive, mask=mask, reverse=reverse)
            return checkpointed_scan(cell, weights, state, drive, every=every, mask=mask, reverse=reverse)
        case Associative():
            if not can_associate(cell, mask):
                raise ValueError(
                    f"method 'associative' can't run {cell}: it is for a LinearCell, or an Elman cell with "
                    "activation 'identity' and no mask; use 'scan'"
                )
            return associative(cell, weights, state, drive, mask=mask, reverse=reverse)


def run_fused(
    cell: Cell, weights: Weights, state: State, xs: Array, mask: Array | None, reverse: bool
) -> tuple[State, Output]:
    """The recurrence by the fused scan. Raises ValueError where the cell can't go it, naming those that can."""
    if not isinstance(cell, ProductCell) or not can_fuse(cell, weights, state, xs):
        raise ValueError(
            f"method 'fused' can't run {cell}: it is for a ProductCell in the product form with no integer "
            "in its state or drive; use 'scan'"
        )
    return fused(cell, weights, state, xs, mask=mask, reverse=reverse)


def check_mask(mask: Array, xs: Array) -> None:
    """Raises ValueError where the mask is not boolean `[T, *batch]`."""
    if mask.shape != xs.shape[:-1]:
        raise ValueError(
            f"the mask must be [T, *batch] = {list(xs.shape[:-1])} for these inputs, but is {list(mask.shape)}"
        )
    if mask.dtype != jnp.bool_:
        raise ValueError(f"the mask must be boolean, True where a step is valid, but is {mask.dtype}")


def check_state(cell: Cell, params: Params, state: State, batch_shape: BatchShape) -> None:
    """Raises ValueError where a given state has not the form of the cell's own."""
    expected = jax.eval_shape(lambda p: cell.initial_state(p, batch_shape), params)
    difference = first_difference(expected, state, dtypes=False)
    if difference:
        raise ValueError(
            f"the state given to {type(cell).__name__} doesn't fit inputs of batch {batch_shape}: {difference}"
        )


def check_step(cell: Cell, weights: Weights, state: State, xs: Array) -> None:
    """Raises TypeError where the step's new state has not the form of the old one."""
    drive = jax.eval_shape(cell.drive, weights, xs)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), drive)
    stepped, _ = jax.eval_shape(cell.step, weights, state, one)
    difference = first_difference(state, stepped, dtypes=True)
    if difference:
        raise TypeError(
            f"{type(cell).__name__}.step must return a state of the form it was given: {difference}"
        )


def first_difference(expected: Any, found: Any, *, dtypes: bool) -> str:
    """In words, the first leaf by which two pytrees differ in structure, shape or type; empty where none does."""
    if jax.tree.structure(expected) != jax.tree.structure(found):
        return f"it is {jax.tree.structure(found)}, but {jax.tree.structure(expected)} is wanted"

    def name(leaf: Any) -> str:
        return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" if dtypes else f"{list(jnp.shape(leaf))}"

    leaves = zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True)
    for (path, leaf), other in leaves:
        if name(leaf) != name(other):
            return f"leaf {jax.tree_util.keystr(path) or 'h'} is {name(other)}, but {name(leaf)} is wanted"
    return ""
