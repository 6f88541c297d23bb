"""The recurrence by `jax.lax.scan`, one step after the other: supports every cell."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Drive, Output, State, Weights


def scan(
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    *,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[State, Output]:
    """Computes final state and outputs `[T, *batch, ...]` from prepared weights and drive, leaves `[T, *batch,
    ...]`."""

    wide = widen(weights)

    def step(state: State, inputs: tuple[Drive, Array | None]) -> tuple[State, Output]:
        drive, valid = inputs
        stepped, y = cell.step(narrow(wide, weights), state, drive)
        return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)

    return jax.lax.scan(step, state, (drive, mask), reverse=reverse)


def checkpointed_scan(
    cell: Cell,
    weights: Weights,
    state: State,
    xs: Array,
    *,
    every: int,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[State, Output]:
    """Runs `scan` on inputs `xs [T, *batch, D]`, storing the state of every k-th step only; the backward pass
    recomputes those in between.

    The backward pass needs the memory of T/k states and k steps, in place of T steps; k = √T minimises it. The
    drive too is computed for k steps at a time. Chen et al. 2016.
    """
    length, wide, masked = xs.shape[0], widen(weights), mask is not None
    segments = math.ceil(length / every)
    padding = segments * every - length
    if padding:  # The last segment is padded with masked steps, at the end that is read last.
        if mask is None:
            mask = jnp.ones(length, bool)
        ends = (padding, 0) if reverse else (0, padding)
        xs, mask = jax.tree.map(lambda x: jnp.pad(x, [ends] + [(0, 0)] * (x.ndim - 1)), (xs, mask))
    cut = jax.tree.map(lambda x: x.reshape(segments, every, *x.shape[1:]), (xs, mask))

    @jax.checkpoint
    def segment(state: State, inputs: tuple[Array, Array | None]) -> tuple[State, Output]:
        xs, mask = inputs
        own = narrow(wide, weights)
        drive = compute_drive(cell, own, xs, mask if masked else None)
        return scan(cell, own, state, drive, mask=mask, reverse=reverse)

    state, ys = jax.lax.scan(segment, state, cut, reverse=reverse)
    kept = slice(padding, None) if reverse else slice(0, length)
    return state, jax.tree.map(lambda y: y.reshape(segments * every, *y.shape[2:])[kept], ys)


def compute_drive(cell: Cell, weights: Weights, xs: Array, mask: Array | None) -> Drive:
    """Computes the drive of several steps; the mask says which are valid."""
    drive = cell.drive(weights, xs)
    return drive if mask is None else cell.masked(drive, mask)


def states_before(
    cell: Cell, weights: Weights, state: State, drive: Drive, mask: Array | None = None
) -> State:
    """Returns the state before each step: s_0 … s_{T−1}, leaves `[T, *batch, ...]`."""

    def step(state: State, inputs: tuple[Drive, Array | None]) -> tuple[State, State]:
        drive, valid = inputs
        stepped, y = cell.step(weights, state, drive)
        return stepped if valid is None else keep_valid(valid, stepped, state, y)[0], state

    return jax.lax.scan(step, state, (drive, mask))[1]


def widen(weights: Weights) -> Weights:
    """Casts weights to single precision at least, so that a scan accumulates their gradients in it.

    The gradient of a leaf that a scan's body closes over is accumulated over time in the type of the leaf, and in
    bfloat16 a sum of ones stops at 256. The body casts the weights back (`narrow`).
    """

    def widen_leaf(leaf: Array) -> Array:
        dtype = jnp.result_type(leaf)
        floating = jnp.issubdtype(dtype, jnp.floating)
        return leaf.astype(jnp.promote_types(dtype, jnp.float32)) if floating else leaf

    return jax.tree.map(widen_leaf, weights)


def narrow(wide: Weights, like: Weights) -> Weights:
    """Inverts `widen` exactly: casts `wide` to the types of `like`."""
    return jax.tree.map(
        lambda leaf, own: leaf.astype(own.dtype) if leaf.dtype != own.dtype else leaf, wide, like
    )


def closed_scan(
    step: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any, *, length: int | None = None
) -> tuple[Any, Any]:
    """Runs `jax.lax.scan` of a function that closes over differentiated arrays, cast as in `widen`."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), xs)
    converted, closed_over = jax.closure_convert(step, state, one)
    wide = widen(closed_over)

    def advance(state: Any, x: Any) -> tuple[Any, Any]:
        return converted(state, x, *narrow(wide, closed_over))

    return jax.lax.scan(advance, state, xs, length=length)


def keep_valid(valid: Array, stepped: State, state: State, y: Output) -> tuple[State, Output]:
    """Keeps the old state, and outputs zero, where `valid [*batch]` is False."""
    stepped = jax.tree.map(lambda new, old: jnp.where(expand_mask(valid, new), new, old), stepped, state)
    return stepped, jax.tree.map(lambda y: jnp.where(expand_mask(valid, y), y, jnp.zeros_like(y)), y)


def expand_mask(valid: Array, leaf: Array) -> Array:
    """Appends axes to `valid [*batch]`, so that it broadcasts against `leaf [*batch, ...]`."""
    return valid.reshape(valid.shape + (1,) * (leaf.ndim - valid.ndim))


def match_varying_axes(tree: Any) -> Any:
    """Marks all leaves as varying over the same mesh axes, inside a `jax.shard_map` that checks it; elsewhere
    returns them unchanged.

    A scan rejects an initial state that is replicated if the next one varies. And the gradient of replicated
    weights is summed over the devices: this way once, in place of once per step.
    """
    leaves = jax.tree.leaves(tree)
    axes = frozenset().union(*(varying_axes(leaf) for leaf in leaves))

    def vary(leaf: Any) -> Any:
        missing = tuple(sorted(axes - varying_axes(leaf), key=str))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)


def varying_axes(leaf: Any) -> frozenset[Any]:
    """Returns the mesh axes along which a leaf may differ from device to device."""
    return frozenset(jax.typeof(leaf).manual_axis_type.varying)  # pyright: ignore
