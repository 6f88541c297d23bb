"""Influence: how an output depends on each input of its sequence, for any layer.

Step Jacobians compare recurrent cells with one another. A key–value cache only copies, so its Jacobian says nothing
of what attention does; ∂y_t/∂x_s exists for every layer, recurrent, bidirectional, stacked or attention.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Bool, Float

from analysis.gradients import scaled_norm
from models.cell import Array, Cell, Output, Params, State, check_hashable
from models.checks import check_inputs
from models.memory import Memory
from models.recurrence.unroll import unroll
from models.state import ravel_state


def influence(
    layer: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    t: int | Array,
    state: State | None = None,
    *,
    mask: Bool[Array, " T"] | None = None,
    memory: Memory | None = None,
) -> Float[Array, " T"]:
    """Computes ‖∂y_t/∂x_s‖ for s = 0 … T−1: how strongly each input influences the output at step t, `[T]`.

    Like the norms of `gradient_by_lag` it is the Frobenius norm, rescaled so that values of 1e-30 don't underflow
    in single precision. It is exactly zero where x_s can't reach y_t: later inputs of a causal layer, masked ones,
    keys that have left the window. For several sequences or outputs: `jax.vmap`.

        layer = Stacked((LSTM(32), LSTM(32)))
        by_lag = influence(layer, params, xs, T - 1)[::-1]

    See `influence_matrices` for arguments and errors.
    """
    return matrix_norms(influence_matrices(layer, params, xs, t, state, mask=mask, memory=memory))


def influence_matrices(
    layer: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    t: int | Array,
    state: State | None = None,
    *,
    mask: Bool[Array, " T"] | None = None,
    memory: Memory | None = None,
) -> Float[Array, "T N D"]:
    """Computes ∂y_t/∂x_s for s = 0 … T−1, exactly: `[T, N, D]`, by one backward pass for each number of y_t.

    Args:
        layer: any cell or layer. N counts the numbers in one of its outputs, complex ones twice.
        params: its parameters.
        xs: one sequence.
        t: the step of the output, 0 … T−1, or from the end −T … −1.
        state: the state before the first step, by default the layer's own.
        mask: False at padding, whose influence is zero, as is all influence on an output there.
        memory: for a layer that reads one, held fixed.

    Raises:
        ValueError: `t` lies outside the sequence, or parameters, inputs, state or mask don't fit.
    """
    check_hashable(layer)
    check_inputs(xs, "[T, D]")
    length = xs.shape[0]
    if not isinstance(t, Tracer) and not -length <= int(t) < length:
        raise ValueError(f"t is {int(t)}, but the {length} steps of the sequence are 0 … {length - 1}")
    return matrices(layer, params, xs, jnp.asarray(t), state, mask, memory)


@partial(jax.jit, static_argnums=0)
def matrices(
    layer: Cell,
    params: Params,
    xs: Array,
    t: Array,
    state: State | None,
    mask: Array | None,
    memory: Memory | None,
) -> Float[Array, "T N D"]:
    """Computes `influence_matrices` without checks."""

    def output(xs: Array) -> Output:
        _, ys = unroll(layer, params, xs, state, mask=mask, memory=memory)
        return jax.tree.map(lambda y: y[t], ys)

    return output_matrices(output, xs)


def output_matrices(
    output: Callable[[Float[Array, "T D"]], Output], xs: Float[Array, "T D"]
) -> Float[Array, "T N D"]:
    """Computes the derivatives of any function of a sequence with respect to each of its steps: `[T, N, D]`, for
    the N numbers that it returns."""
    y, pull = jax.vjp(lambda xs: ravel_state(output(xs))[0], xs)
    rows = jax.vmap(lambda cotangent: pull(cotangent)[0])(jnp.eye(y.size, dtype=y.dtype))
    return jnp.moveaxis(rows, 0, 1)


def matrix_norms(matrices: Float[Array, "*T N D"]) -> Float[Array, "*T"]:
    """Computes the Euclidean norm over all entries of each matrix."""
    return scaled_norm(jnp.abs(matrices).reshape(*matrices.shape[:-2], -1), axis=-1)
