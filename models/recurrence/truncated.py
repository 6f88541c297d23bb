"""Truncated backpropagation through time: the state is carried from segment to segment, the gradient isn't.

A sequence of T steps is split into segments of k. Each starts from the final state of the one before, as a
constant, so that gradients reach back at most k steps and memory is that of one segment. Williams & Peng 1990;
Mikolov et al. 2010 for language models. Gradients over more than k steps are dropped: for k ≥ T none.
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
    """Returns the state to carry to the next segment: unchanged, but with gradients stopped.

    Where `reset [*batch]` is True a new sequence starts (a document, say) with `initial` in place of the state: the
    cell's `initial_state(params, batch_shape)`, through which gradients pass, as it may be learned.

    In a `LossFn` of `train` the state is the carry:
    `carried(carry, reset, cell.initial_state(params, reset.shape))`, which works on a device's shard too.

    Raises ValueError if `reset` is given without `initial`, or isn't boolean with the shape of the batch.
    """
    stopped = jax.tree.map(jax.lax.stop_gradient, state)
    if reset is None:
        return stopped
    if initial is None:
        raise ValueError("a reset needs the initial state: carried(state, reset, initial)")
    for leaf in jax.tree.leaves(state):
        if leaf.shape[: reset.ndim] != reset.shape:
            raise ValueError(
                "reset must be [*batch], the leading axes of every leaf of the state, but is "
                f"{list(reset.shape)}, and a leaf is {list(leaf.shape)}"
            )
    return jax.tree.map(lambda old, new: jnp.where(expand_mask(reset, old), new, old), stopped, initial)


@partial(jax.jit, static_argnames=("loss", "every"))
def truncated_value_and_gradient(
    loss: SegmentLoss, params: Params, state: State, sequence: PyTree[Array], *, every: int
) -> tuple[Array, Params, State]:
    """Computes the loss over all segments of `every` = k steps, its truncated gradient, and the final state:

        L = Σ_j ℓ(θ, s_j, segment_j)     g = Σ_j ∂ℓ/∂θ (θ, s_j, segment_j)  with s_j held constant

    `sequence` has leaves `[T, ...]`; a segment, which the loss takes, has leaves `[k, ...]`, or fewer steps in the
    last one if k does not divide T. ℓ must be a sum over steps, so that L is the loss of the whole sequence;
    divide L and g by the number of steps for a mean. For k ≥ T this is the loss and gradient of the whole
    sequence. Both are summed in single precision at least: L is returned in it, g in the parameters' types.

    Compiled once per function `loss` and shapes: don't create the function anew for every call.

    Raises ValueError if the leaves of `sequence` differ in length, or there are none.
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
