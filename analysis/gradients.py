"""Gradients of a loss in the states of earlier steps."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PyTree

from models.cell import Array, Cell, Drive, Output, Params, State, Weights, check_at_least
from models.checks import check_call
from models.recurrence.scan import keep_valid, scan, states_before
from models.state import ravel_coordinates, ravel_state

Loss = Callable[[State, Output], Array]


@partial(jax.jit, static_argnames=("cell", "loss"))
def state_gradients(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *batch D"],
    loss: Loss,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
) -> State:
    """∂L/∂s_t for t = 0 … T−1: leaves `[T, *batch, ...]`, entry t for the state that step t + 1 starts from.

    `loss` is a function of the final state and the outputs `[T, *batch, ...]`. The gradient is the total one, by
    every way from s_t to the loss: an output y_t that was given out together with s_t isn't one of them. Integer
    leaves have none; zeros stand for it. Where `mask [T, *batch]` is False a step leaves the state as it was and
    gives out zero, so that entry t is that of t + 1.

    Raises ValueError where parameters, inputs, state or mask don't fit.
    """
    check_call(cell, params, xs, state, mask)
    batch_shape = xs.shape[1:-1]
    if state is None:
        state = cell.initial_state(params, batch_shape)
    weights = cell.prepare(params, batch_shape=batch_shape)
    drive = masked_drive(cell, weights, xs, mask)

    def add(leaf: Array, change: Array) -> Array:
        return leaf + change if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    def total(changes: State) -> Array:
        def step(state: State, inputs: tuple[State, Drive, Array | None]) -> tuple[State, Output]:
            change, drive, valid = inputs
            state = jax.tree.map(add, state, change)
            stepped, y = cell.step(weights, state, drive)
            return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)

        return loss(*jax.lax.scan(step, state, (changes, drive, mask)))

    def zeros(leaf: Array) -> Array:
        inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jnp.zeros((xs.shape[0], *leaf.shape), leaf.dtype if inexact else jnp.result_type(float))

    return jax.grad(total)(jax.tree.map(zeros, state))


@partial(jax.jit, static_argnames=("cell", "loss"))
def gradient_by_lag(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *batch D"],
    loss: Loss,
    state: State | None = None,
    *,
    mask: Bool[Array, "T *batch"] | None = None,
) -> Float[Array, "T *batch"]:
    """‖∂L/∂s_{T−k}‖ for k = 1 … T steps back from the end: `[T, *batch]`, row i for lag i + 1.

    The Euclidean norm over the whole state of each example, in the cell's `coordinates` where a state can be
    written in more than one way. For the norm to be that of each example's own loss,
    `loss` must be the *sum* over the batch. See `state_gradients`.

    Where `mask [T, *batch]` is False a step leaves the state as it was: lags count valid steps only, those of each
    example, and rows beyond its number of them are NaN.

    Raises ValueError where parameters, inputs, state or mask don't fit.
    """
    gradients = state_gradients(cell, params, xs, loss, state, mask=mask)
    axes = xs.ndim - 1
    if state is None:
        state = cell.initial_state(params, xs.shape[1:-1])
    gradients = in_coordinates(cell, params, xs, state, gradients, mask)
    # The largest entry is taken out before squaring: gradients of 1e-30 are what this is for.
    flat = [jnp.abs(g).reshape(*g.shape[:axes], -1) for g in jax.tree.leaves(gradients)]
    joined = jnp.concatenate(flat, axis=-1)
    largest = jnp.max(joined, axis=-1, keepdims=True, initial=0.0)
    scale = jnp.where(largest > 0, largest, 1.0)
    norms = scale[..., 0] * jnp.sqrt(jnp.sum((joined / scale) ** 2, axis=-1))
    return norms[::-1] if mask is None else valid_first(norms[::-1], mask[::-1])


def valid_first(rows: Float[Array, "T *batch"], mask: Bool[Array, "T *batch"]) -> Float[Array, "T *batch"]:
    """The valid rows of each example, in their order, before as many NaN as it has masked ones."""
    order = jnp.argsort(~mask, axis=0, stable=True)
    valid, rows = (jnp.take_along_axis(leaf, order, axis=0) for leaf in (mask, rows))
    return jnp.where(valid, rows, jnp.nan)


def masked_drive(cell: Cell, weights: Weights, xs: Array, mask: Array | None) -> Drive:
    """The drive of a sequence, which nothing of a masked input reaches."""
    if mask is None:
        return cell.drive(weights, xs)
    return cell.masked(cell.drive(weights, jnp.where(mask[..., None], xs, 0)), mask)


def in_coordinates(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *batch D"],
    state: State,
    gradients: State,
    mask: Bool[Array, "T *batch"] | None = None,
) -> State:
    """∂L/∂z_t in the coordinates z_t, from ∂L/∂s_t along the trajectory from `state`; integer leaves stay zeros."""
    if type(cell).coordinates is Cell.coordinates:
        return gradients
    weights = cell.prepare(params, batch_shape=xs.shape[1:-1])
    before = states_before(cell, weights, state, masked_drive(cell, weights, xs, mask), mask)

    def turned(state: State, gradient: State) -> Array:
        vector, restore = ravel_coordinates(cell, state)
        _, pull = jax.vjp(lambda vector: ravel_state(restore(vector))[0], vector)
        # JAX gives ∂L/∂x − i ∂L/∂y for x + iy, and something for integers, which the vector leaves out.
        kept = jax.tree.map(lambda g, leaf: jnp.conj(g) if is_inexact(leaf) else leaf, gradient, state)
        return pull(ravel_state(kept)[0])[0]

    for _ in range(xs.ndim - 1):
        turned = jax.vmap(turned)
    return turned(before, gradients)


def is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def log_slope(norms: Float[np.ndarray | Array, " K"]) -> float:
    """The slope of ln ‖∂L/∂s‖ per step of lag: least squares over the lags whose norm is above zero.

    −0.1 means that each step back keeps e^−0.1 = 90 % of the gradient. NaN with fewer than two such lags.
    """
    norms = np.asarray(norms, np.float64)
    lags = np.flatnonzero((norms > 0) & np.isfinite(norms))
    if len(lags) < 2:
        return float("nan")
    return float(np.polynomial.Polynomial.fit(lags, np.log(norms[lags]), 1).convert().coef[1])


@partial(jax.jit, static_argnames=("cell", "loss", "chunk"))
def parameter_gradient_by_lag(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *batch D"],
    loss: Loss,
    state: State | None = None,
    *,
    chunk: int = 16,
) -> dict[str, Float[Array, "T *batch"]]:
    """‖∂L/∂θ_{T−k}‖ for k = 0 … T − 1 and every block of parameters: `{name: [T, *batch]}`, row k for lag k.

    θ_t is θ as step t uses it, the drive of x_t included: were each step given a copy of its own, this is the
    gradient in that copy, and ∂L/∂θ = Σ_t ∂L/∂θ_t. Of each example by itself: `loss` must be the *sum* over the
    batch, as for `gradient_by_lag`, and the cell must not couple examples (batch norm does).

    The copies are never held: norms alone leave a step, and the gradients of `chunk` examples of one step are
    in memory at a time.

    Raises ValueError where parameters, inputs or state don't fit.
    """
    check_at_least(1, chunk=chunk)
    check_call(cell, params, xs, state)
    length, *batch_shape = xs.shape[:-1]
    if state is None:
        state = cell.initial_state(params, tuple(batch_shape))
    weights = cell.prepare(params, batch_shape=tuple(batch_shape))
    drive = cell.drive(weights, xs)
    before = states_before(cell, weights, state, drive)
    in_final, in_outputs = gradients_at_the_end(loss, *scan(cell, weights, state, drive))
    # ∂L/∂s_t for t = 1 … T, by the ways that begin after step t; the output of step t is the other way.
    in_state = jax.tree.map(
        lambda later, last: jnp.concatenate([later[1:], last[None]]),
        state_gradients(cell, params, xs, loss, state),
        in_final,
    )

    def norms(of_one: tuple[State, Array, State, Output]) -> Params:
        before, x, in_state, in_output = of_one

        def step(params: Params) -> tuple[State, Output]:
            weights = cell.prepare(params)
            return cell.step(weights, before, cell.drive(weights, x))

        kinds = jax.tree.leaves(jax.eval_shape(step, params))
        inexact = [is_inexact(leaf) for leaf in kinds]

        def differentiable(tree: PyTree) -> list[Array]:
            return [leaf for leaf, keep in zip(jax.tree.leaves(tree), inexact, strict=True) if keep]

        _, pull = jax.vjp(lambda params: differentiable(step(params)), params)
        return jax.tree.map(norm, pull(differentiable((in_state, in_output)))[0])

    of_examples = jax.tree.map(
        lambda leaf: leaf.reshape(length, math.prod(batch_shape), *leaf.shape[xs.ndim - 1 :]),
        (before, xs, in_state, in_outputs),
    )
    found = jax.lax.map(lambda of_step: jax.lax.map(norms, of_step, batch_size=chunk), of_examples)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): block.reshape(length, *batch_shape)[::-1]
        for path, block in jax.tree.leaves_with_path(found)
    }


def gradients_at_the_end(loss: Loss, final: State, ys: Output) -> tuple[State, Output]:
    """∂L/∂s_T and ∂L/∂y_t `[T, *batch, ...]` as the loss itself reads them; zeros for integer leaves."""
    gradients = jax.grad(loss, argnums=(0, 1), allow_int=True)(final, ys)
    return jax.tree.map(
        lambda gradient, leaf: gradient if is_inexact(leaf) else jnp.zeros(leaf.shape), gradients, (final, ys)
    )


def norm(gradient: Array) -> Array:
    """‖g‖ over all entries; the largest is taken out before squaring, so that 1e-30 counts in single
    precision."""
    sizes = jnp.abs(gradient)
    largest = jnp.max(sizes, initial=0.0)
    scale = jnp.where(largest > 0, largest, 1.0)
    return scale * jnp.sqrt(jnp.sum((sizes / scale) ** 2)) * (largest > 0)


def lag_quantiles(
    norms: Float[np.ndarray | Array, "K *batch"], fractions: Sequence[float] = (0.25, 0.5, 0.75)
) -> Float[np.ndarray, "Q K"]:
    """Quantiles over examples at every lag, by default quartiles and median: `[K, *batch]` → `[Q, K]`.

    Raises ValueError for a fraction outside 0 … 1.
    """
    if any(not 0 <= fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions must lie in 0 … 1, but are {list(fractions)}")
    values = np.asarray(norms, np.float64)
    return np.quantile(values.reshape(len(values), -1), list(fractions), axis=1)


def half_life(norms: Float[np.ndarray | Array, "K *batch"]) -> float:
    """In how many steps back the gradient halves, ln 2 / −(slope of its logarithm): of the median over
    examples.

    Infinite where it doesn't fall. With norms of exactly zero left out, as `log_slope` does; NaN with fewer
    than two that aren't.
    """
    slope = log_slope(lag_quantiles(norms, [0.5])[0])
    if math.isnan(slope):
        return slope
    return math.log(2) / -slope if slope < 0 else math.inf
