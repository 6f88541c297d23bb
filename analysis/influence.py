"""Influence: how an output depends on each input of its sequence, for any layer.

Step Jacobians compare recurrent cells with one another. A key–value cache only copies, so its Jacobian says nothing
of what attention does; ∂y_t/∂x_s exists for every layer, recurrent, bidirectional, stacked or attention. So does
∂y_t/∂m_l for the places of a memory. `sequence_jacobians` takes both from any function of a sequence, such as the
output of a decoder as a function of its encoder's inputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Bool, Float

from analysis.gradients import scaled_norm
from models.cell import Array, Cell, Output, Params, State, check_hashable
from models.checks import check_inputs
from models.memory import Memory, check_memory
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

    Examples:
        >>> layer = Transformer(hidden_size=8, layers=1, heads=2, context=4)
        >>> params = layer.init(jax.random.key(0), input_size=3)
        >>> norms = influence(layer, params, jax.random.normal(jax.random.key(1), (7, 3)), t=-1)
        >>> (norms > 0).tolist()  # the window holds four steps
        [False, False, False, True, True, True, True]
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
    check_step(layer, xs, t)
    return matrices(layer, params, xs, jnp.asarray(t), state, mask, memory)


@partial(jax.jit, static_argnums=0)
def matrices(layer: Cell, params: Params, xs: Array, *rest: Any) -> Float[Array, "T N D"]:
    """Computes `influence_matrices` without checks."""
    return sequence_jacobians(lambda xs: output_at(layer, params, xs, *rest), xs)


def memory_influence(
    layer: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    t: int | Array,
    memory: Memory,
    state: State | None = None,
    *,
    mask: Bool[Array, " T"] | None = None,
) -> Float[Array, " L"]:
    """Computes ‖∂y_t/∂m_l‖ for l = 0 … L−1: how strongly each place of a memory influences the output at step t,
    by whatever way and at whatever step it was read, `[L]`. The norm is that of `influence`.

        by_place = memory_influence(decoder, params, xs, t, Memory(encoded, mask))

    See `memory_influence_matrices` for arguments and errors.
    """
    return matrix_norms(memory_influence_matrices(layer, params, xs, t, memory, state, mask=mask))


def memory_influence_matrices(
    layer: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    t: int | Array,
    memory: Memory,
    state: State | None = None,
    *,
    mask: Bool[Array, " T"] | None = None,
) -> Float[Array, "L N M"]:
    """Computes ∂y_t/∂m_l for l = 0 … L−1, exactly: `[L, N, M]`, by one backward pass for each number of y_t.

    Args:
        layer: a cell or layer that reads a memory. N counts the numbers in one of its outputs, complex ones twice.
        params: its parameters.
        xs: one sequence, held fixed.
        t: the step of the output, 0 … T−1, or from the end −T … −1.
        memory: L places of M numbers, `values [L, M]`. The influence of a masked place is zero.
        state: the state before the first step, by default the layer's own; held fixed.
        mask: False at padding, whose output nothing influences.

    Raises:
        ValueError: `t` lies outside the sequence, the layer reads no memory, or parameters, inputs, memory, state
            or mask don't fit.
    """
    check_step(layer, xs, t)
    check_memory(layer, memory, ())
    return of_memory(layer, params, xs, jnp.asarray(t), state, mask, memory)


@partial(jax.jit, static_argnums=0)
def of_memory(
    layer: Cell,
    params: Params,
    xs: Array,
    t: Array,
    state: State | None,
    mask: Array | None,
    memory: Memory,
) -> Float[Array, "L N M"]:
    """Computes `memory_influence_matrices` without checks."""

    def output(values: Array) -> Output:
        return output_at(layer, params, xs, t, state, mask, memory._replace(values=values))

    return sequence_jacobians(output, memory.values)


def check_step(layer: Cell, xs: Array, t: int | Array) -> None:
    """Raises ValueError for inputs that are not one sequence, and a step that lies outside it."""
    check_hashable(layer)
    check_inputs(xs, "[T, D]")
    length = xs.shape[0]
    if not isinstance(t, Tracer) and not -length <= int(t) < length:
        raise ValueError(f"t is {int(t)}, but the {length} steps of the sequence are 0 … {length - 1}")


def output_at(
    layer: Cell,
    params: Params,
    xs: Array,
    t: Array,
    state: State | None,
    mask: Array | None,
    memory: Memory | None,
) -> Output:
    """Computes y_t."""
    _, ys = unroll(layer, params, xs, state, mask=mask, memory=memory)
    return jax.tree.map(lambda y: y[t], ys)


def sequence_jacobians(
    function: Callable[[Float[Array, "T D"]], Any], xs: Float[Array, "T D"]
) -> Float[Array, "T N D"]:
    """Computes the derivatives of any function of a sequence with respect to each of its steps: `[T, N, D]`, for
    the N numbers that it returns.

    With a loss as the function, `matrix_norms` of them is ‖∂ℓ/∂x_s‖. What a sentence read by an encoder does to the
    output of its decoder at step t:

        def output(source):
            return unroll(decoder, params, xs, memory=Memory(encode(source), mask))[1][t]

        by_word = matrix_norms(sequence_jacobians(output, source))
    """
    y, pull = jax.vjp(lambda xs: ravel_state(function(xs))[0], xs)
    rows = jax.vmap(lambda cotangent: pull(cotangent)[0])(jnp.eye(y.size, dtype=y.dtype))
    return jnp.moveaxis(rows, 0, 1)


def matrix_norms(matrices: Float[Array, "*T N D"]) -> Float[Array, "*T"]:
    """Computes the Euclidean norm over all entries of each matrix."""
    return scaled_norm(jnp.abs(matrices).reshape(*matrices.shape[:-2], -1), axis=-1)
