"""Gradients of a loss with respect to earlier states, and to the parameters at earlier steps."""

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
from models.recurrence.scan import compute_drive, keep_valid, scan, states_before
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
    """Computes ∂L/∂s_t for t = 0 … T−1: leaves `[T, *batch, ...]`, entry t for the state before step t + 1.

    `loss` is a function of the final state and the outputs `[T, *batch, ...]`. The gradient is the total
    derivative, over all paths from s_t to the loss; the output y_t of the step that made s_t is not among them.
    It is zero for integer leaves. Where `mask [T, *batch]` is False a step keeps the state and outputs zero, so
    that entry t equals entry t + 1.

    Raises ValueError if parameters, inputs, state or mask don't fit.
    """
    check_call(cell, params, xs, state, mask)
    batch_shape = xs.shape[1:-1]
    if state is None:
        state = cell.initial_state(params, batch_shape)
    weights = cell.prepare(params, batch_shape=batch_shape)
    drive = masked_drive(cell, weights, xs, mask)

    def perturb(leaf: Array, perturbation: Array) -> Array:
        return leaf + perturbation if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    def total(perturbations: State) -> Array:
        def step(state: State, inputs: tuple[State, Drive, Array | None]) -> tuple[State, Output]:
            perturbation, drive, valid = inputs
            state = jax.tree.map(perturb, state, perturbation)
            stepped, y = cell.step(weights, state, drive)
            return (stepped, y) if valid is None else keep_valid(valid, stepped, state, y)

        return loss(*jax.lax.scan(step, state, (perturbations, drive, mask)))

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
    """Computes ‖∂L/∂s_{T−k}‖ for k = 1 … T steps back from the end: `[T, *batch]`, row i for lag i + 1.

    It is the Euclidean norm over the whole state of each example, in the cell's `coordinates` if a state has
    several representations. `loss` must be the *sum* over the batch, so that each norm is that of the example's
    own loss. See `state_gradients`.

    Masked steps (`mask [T, *batch]` False) are not counted in the lags of their example; the rows beyond its number
    of valid steps are NaN.

    Raises ValueError if parameters, inputs, state or mask don't fit.

    Examples:
        >>> cell, xs = GRU(4), jnp.ones((7, 2, 3))
        >>> params = cell.init(jax.random.key(0), input_size=3)
        >>> norms = gradient_by_lag(cell, params, xs, lambda state, ys: jnp.sum(ys[-1] ** 2))
        >>> norms.shape  # lags 1 … 7 of two examples
        (7, 2)
    """
    gradients = state_gradients(cell, params, xs, loss, state, mask=mask)
    axes = xs.ndim - 1
    if state is None:
        state = cell.initial_state(params, xs.shape[1:-1])
    gradients = to_coordinates(cell, params, xs, state, gradients, mask)
    flat = [jnp.abs(g).reshape(*g.shape[:axes], -1) for g in jax.tree.leaves(gradients)]
    norms = scaled_norm(jnp.concatenate(flat, axis=-1), axis=-1)
    return norms[::-1] if mask is None else valid_first(norms[::-1], mask[::-1])


def valid_first(rows: Float[Array, "T *batch"], mask: Bool[Array, "T *batch"]) -> Float[Array, "T *batch"]:
    """Moves the valid rows of each example to the front, in order, and replaces the masked ones by NaN."""
    order = jnp.argsort(~mask, axis=0, stable=True)
    valid, rows = (jnp.take_along_axis(leaf, order, axis=0) for leaf in (mask, rows))
    return jnp.where(valid, rows, jnp.nan)


def masked_drive(cell: Cell, weights: Weights, xs: Array, mask: Array | None) -> Drive:
    """Computes the drive of a sequence, with zeros in place of masked inputs."""
    return compute_drive(cell, weights, xs if mask is None else jnp.where(mask[..., None], xs, 0), mask)


def to_coordinates(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T *batch D"],
    state: State,
    gradients: State,
    mask: Bool[Array, "T *batch"] | None = None,
) -> State:
    """Converts ∂L/∂s_t along the trajectory from `state` to ∂L/∂z_t in the coordinates z_t; integer leaves stay
    0."""
    if type(cell).coordinates is Cell.coordinates:
        return gradients
    weights = cell.prepare(params, batch_shape=xs.shape[1:-1])
    before = states_before(cell, weights, state, masked_drive(cell, weights, xs, mask), mask)

    def transform(state: State, gradient: State) -> Array:
        vector, restore = ravel_coordinates(cell, state)
        _, pull = jax.vjp(lambda vector: ravel_state(restore(vector))[0], vector)
        # JAX gives ∂L/∂x − i ∂L/∂y for x + iy; the vector leaves out integers, whose gradient doesn't matter.
        kept = jax.tree.map(lambda g, leaf: jnp.conj(g) if is_inexact(leaf) else leaf, gradient, state)
        return pull(ravel_state(kept)[0])[0]

    for _ in range(xs.ndim - 1):
        transform = jax.vmap(transform)
    return transform(before, gradients)


def is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def log_slope(norms: Float[np.ndarray | Array, " K"]) -> float:
    """Fits the slope of ln ‖∂L/∂s‖ per step of lag, by least squares over the lags whose norm is above zero.

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
    """Computes ‖∂L/∂θ_{T−k}‖ for k = 0 … T − 1 and every block of parameters: `{name: [T, *batch]}`, row k for
    lag k.

    θ_t is the copy of θ used by step t, including the drive of x_t, so that ∂L/∂θ = Σ_t ∂L/∂θ_t. Each example is
    treated by itself: `loss` must be the *sum* over the batch, as for `gradient_by_lag`, and the cell must not
    couple examples (batch norm does).

    Only the norms are stored; the gradients of `chunk` examples of one step are in memory at a time.

    Raises ValueError if parameters, inputs or state don't fit.
    """
    check_at_least(1, chunk=chunk)
    check_call(cell, params, xs, state)
    length, *batch_shape = xs.shape[:-1]
    if state is None:
        state = cell.initial_state(params, tuple(batch_shape))
    weights = cell.prepare(params, batch_shape=tuple(batch_shape))
    drive = cell.drive(weights, xs)
    before = states_before(cell, weights, state, drive)
    in_final, in_outputs = direct_gradients(loss, *scan(cell, weights, state, drive))
    # ∂L/∂s_t for t = 1 … T over the paths after step t; the output of step t is the other path.
    in_state = jax.tree.map(
        lambda later, last: jnp.concatenate([later[1:], last[None]]),
        state_gradients(cell, params, xs, loss, state),
        in_final,
    )

    def norms(example: tuple[State, Array, State, Output]) -> Params:
        before, x, in_state, in_output = example

        def step(params: Params) -> tuple[State, Output]:
            weights = cell.prepare(params)
            return cell.step(weights, before, cell.drive(weights, x))

        output_leaves = jax.tree.leaves(jax.eval_shape(step, params))
        inexact = [is_inexact(leaf) for leaf in output_leaves]

        def differentiable(tree: PyTree) -> list[Array]:
            return [leaf for leaf, keep in zip(jax.tree.leaves(tree), inexact, strict=True) if keep]

        _, pull = jax.vjp(lambda params: differentiable(step(params)), params)
        gradients = pull(differentiable((in_state, in_output)))[0]
        return jax.tree.map(lambda gradient: scaled_norm(jnp.abs(gradient)), gradients)

    examples = jax.tree.map(
        lambda leaf: leaf.reshape(length, math.prod(batch_shape), *leaf.shape[xs.ndim - 1 :]),
        (before, xs, in_state, in_outputs),
    )
    found = jax.lax.map(lambda step_examples: jax.lax.map(norms, step_examples, batch_size=chunk), examples)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): block.reshape(length, *batch_shape)[::-1]
        for path, block in jax.tree.leaves_with_path(found)
    }


def direct_gradients(loss: Loss, final: State, ys: Output) -> tuple[State, Output]:
    """Computes the direct gradients ∂L/∂s_T and ∂L/∂y_t `[T, *batch, ...]` of the loss; zeros for integer
    leaves."""
    gradients = jax.grad(loss, argnums=(0, 1), allow_int=True)(final, ys)
    return jax.tree.map(
        lambda gradient, leaf: gradient if is_inexact(leaf) else jnp.zeros(leaf.shape), gradients, (final, ys)
    )


def scaled_norm(sizes: Array, axis: int | None = None) -> Array:
    """Computes √Σ x² over an axis, or all, scaled by the largest entry, so that 1e-30 counts in single
    precision."""
    largest = jnp.max(sizes, axis=axis, keepdims=True, initial=0.0)
    scale = jnp.where(largest > 0, largest, 1.0)
    return jnp.squeeze(scale, axis) * jnp.sqrt(jnp.sum((sizes / scale) ** 2, axis=axis))


def lag_quantiles(
    norms: Float[np.ndarray | Array, "K *batch"], fractions: Sequence[float] = (0.25, 0.5, 0.75)
) -> Float[np.ndarray, "Q K"]:
    """Computes quantiles over examples at every lag, by default quartiles and median: `[K, *batch]` → `[Q, K]`.

    Raises ValueError for a fraction outside 0 … 1.
    """
    if any(not 0 <= fraction <= 1 for fraction in fractions):
        raise ValueError(f"fractions must lie in 0 … 1, but are {list(fractions)}")
    values = np.asarray(norms, np.float64)
    return np.quantile(values.reshape(len(values), -1), list(fractions), axis=1)


def half_life(norms: Float[np.ndarray | Array, "K *batch"]) -> float:
    """Computes the number of steps back over which the gradient halves, ln 2 / −(slope of its logarithm), from the
    median over examples.

    Infinite if it doesn't fall. Norms of exactly zero are left out, as in `log_slope`; NaN with fewer than two
    others.
    """
    slope = log_slope(lag_quantiles(norms, [0.5])[0])
    if math.isnan(slope):
        return slope
    return math.log(2) / -slope if slope < 0 else math.inf
