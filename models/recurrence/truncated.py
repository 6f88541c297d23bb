"""Truncated backpropagation through time: the state goes on from segment to segment, the gradient doesn't.

A sequence of T steps is cut into segments of k. Each starts from the state in which the one before ended, taken as
a constant, so that a gradient reaches back k steps at most and memory is that of one segment. Williams & Peng 1990;
Mikolov et al. 2010 for language models. What is left out is the gradient by ways longer than k: for k ≥ T none.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, PyTree

from models.cell import Array, Params, State, check_at_least
from models.recurrence.fused import zero_sum
from models.recurrence.scan import expand_mask

SegmentLoss = Callable[[Params, State, Any], tuple[Array, State]]
"""`(params, state, segment) -> (loss, final state)`: the loss a sum over the segment's steps."""


def carried(state: State, reset: Bool[Array, "*batch"] | None = None, initial: State | None = None) -> State:
    """The state that a segment hands to the next: the same numbers, through which no gradient passes.

    Where `reset [*batch]` is True something new begins (a document, say) and `initial` takes the state's place: the
    cell's `initial_state(params, batch_shape)`, through which gradients pass, for it may be learned.

    In a `LossFn` of `train` the state is the carry:
    `carried(carry, begins, cell.initial_state(params, begins.shape))`, which holds for a device's share too.

    Raises ValueError where `reset` comes without `initial`, or isn't boolean with the shape of the batch.
    """
    stopped = jax.tree.map(jax.lax.stop_gradient, state)
    if reset is None:
        return stopped
    if initial is None:
        raise ValueError("a reset needs the initial state to go back to: carried(state, reset, initial)")
    for leaf in jax.tree.leaves(state):
        if leaf.shape[: reset.ndim] != reset.shape:
            raise ValueError(
                f"reset must be [*batch] and so begin every leaf of the state, but it is {list(reset.shape)} and a "
                f"leaf is {list(leaf.shape)}"
            )
    return jax.tree.map(lambda old, new: jnp.where(expand_mask(reset, old), new, old), stopped, initial)


@partial(jax.jit, static_argnames=("loss", "every"))
def truncated_value_and_gradient(
    loss: SegmentLoss, params: Params, state: State, sequence: PyTree[Array], *, every: int
) -> tuple[Array, Params, State]:
    """The loss over all segments of `every` = k steps, its truncated gradient, and the final state:

        L = Σ_j ℓ(θ, s_j, segment_j)     g = Σ_j ∂ℓ/∂θ (θ, s_j, segment_j)  with s_j held constant

    `sequence` is what the loss takes, leaves `[T, ...]`; a segment has leaves `[k, ...]`, the last one fewer where
    k does not divide T. ℓ must be a sum over steps, for L to be the loss of the whole sequence; divide L and g by
    the number of steps for a mean. For k ≥ T this is the loss and gradient of the whole sequence. Both are summed
    in single precision at least: L stays in it, g has the parameters' types.

    Compiled once for one function `loss` and equal shapes: don't make the function anew at every call.

    Raises ValueError where the leaves of `sequence` differ in length, or there are none.
    """
    check_at_least(1, every=every)
    lengths = {leaf.shape[0] for leaf in jax.tree.leaves(sequence)}
    if len(lengths) != 1:
        raise ValueError(f"the sequence's leaves must have one length T, but have {sorted(lengths)}")
    (length,) = lengths
    gradient_of = jax.value_and_grad(loss, has_aux=True)

    def add(total: tuple[Array, Params, State], segment: Any) -> tuple[tuple[Array, Params, State], None]:
        value, gradient, state = total
        (own, state), of_own = gradient_of(params, state, segment)
        gradient = jax.tree.map(lambda sum, own: sum + own.astype(sum.dtype), gradient, of_own)
        return (value + own.astype(value.dtype), gradient, state), None

    whole = length // every
    cut = jax.tree.map(lambda x: x[: whole * every].reshape(whole, every, *x.shape[1:]), sequence)
    first = jax.tree.map(lambda x: x[:every], sequence)
    kind = jax.eval_shape(loss, params, state, first)[0].dtype
    value = jnp.zeros((), jnp.promote_types(kind, jnp.float32))
    total, _ = jax.lax.scan(add, (value, jax.tree.map(zero_sum, params), state), cut)
    if whole * every < length:
        total, _ = add(total, jax.tree.map(lambda x: x[whole * every :], sequence))
    value, gradient, state = total
    return value, jax.tree.map(lambda sum, leaf: sum.astype(leaf.dtype), gradient, params), state
