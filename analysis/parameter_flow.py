"""The share of each use of the parameters, step by step, in the gradient of the loss; and what sums up a gradient
by lag."""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from analysis.gradient_flow import Loss, is_inexact, log_slope, state_gradients
from models.cell import Array, Cell, Output, Params, State, at_least
from models.door import check_call
from models.scan import scan, states_before


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
    at_least(1, chunk=chunk)
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
