"""A cell through time: one door, `unroll`."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool

from models.cell import Array, BatchShape, Cell, Drive, Key, Output, Params, State, Weights


@dataclass(frozen=True)
class Scan:
    """One step after the other by `jax.lax.scan`; serves every cell."""


Method = Literal["auto", "scan"] | Scan


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
    drive = cell.drive(weights, xs)
    check_step(cell, weights, state, drive)
    match method:
        case "auto" | "scan" | Scan():
            return scan(cell, weights, state, drive, mask=mask, reverse=reverse)
        case _:
            raise ValueError(f"unknown method {method!r}: a {type(cell).__name__} can be unrolled by 'scan'")


def scan(
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    *,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[State, Output]:
    """The recurrence over prepared weights and drive (leaves `[T, *batch, ...]`), by `jax.lax.scan`."""

    def plain(state: State, drive: Drive) -> tuple[State, Output]:
        return cell.step(weights, state, drive)

    def masked(state: State, inputs: tuple[Drive, Array]) -> tuple[State, Output]:
        drive, valid = inputs
        stepped, y = cell.step(weights, state, drive)
        stepped = jax.tree.map(lambda new, old: jnp.where(over(valid, new), new, old), stepped, state)
        return stepped, jax.tree.map(lambda y: jnp.where(over(valid, y), y, jnp.zeros_like(y)), y)

    if mask is None:
        return jax.lax.scan(plain, state, drive, reverse=reverse)
    return jax.lax.scan(masked, state, (drive, mask), reverse=reverse)


def states_before(cell: Cell, weights: Weights, state: State, drive: Drive) -> State:
    """The state that each step starts from: s_0 … s_{T−1}, leaves `[T, *batch, ...]`."""

    def body(state: State, drive: Drive) -> tuple[State, State]:
        stepped, _ = cell.step(weights, state, drive)
        return stepped, state

    return jax.lax.scan(body, state, drive)[1]


def over(valid: Array, leaf: Array) -> Array:
    """`valid [*batch]` with axes added behind, so that it selects in `leaf [*batch, ...]`."""
    return valid.reshape(valid.shape + (1,) * (leaf.ndim - valid.ndim))


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


def check_step(cell: Cell, weights: Weights, state: State, drive: Drive) -> None:
    """Raises TypeError where the step's new state has not the form of the old one."""
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
