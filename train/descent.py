"""Gradient descent without the bookkeeping of `fit`: all steps of one net in one `lax.scan`.

For ensembles and for paths on error surfaces; works under `vmap` and `shard_map`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from train.state import PyTree

Array = jax.Array


def descend(
    loss: Callable[[PyTree, Any], Array],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    inputs: Any,
    record: Callable[[PyTree, Array, PyTree, Any], PyTree],
    length: int | None = None,
) -> tuple[PyTree, PyTree]:
    """Takes a step θ ← θ + u(∇L(θ, x_i)) for each x_i of the leading axis of `inputs`.

    Args:
        loss: `(θ, x_i) → L`.
        params: the initial θ.
        optimizer: u; one that takes extra arguments is given `value`, the loss.
        inputs: leaves `[n, …]`; None with `length` steps, for a loss that needs none.
        record: `(θ, L, ∇L, optimizer's state after the step) →` the record of a step, with θ before it.
        length: the number of steps, if `inputs` is None.

    Returns:
        The final θ, and the records, leaves `[n, …]`.
    """
    update = optax.with_extra_args_support(optimizer).update

    def step(carry: tuple[PyTree, Any], x: Any) -> tuple[tuple[PyTree, Any], PyTree]:
        params, opt_state = carry
        value, gradient = jax.value_and_grad(loss)(params, x)
        updates, opt_state = update(gradient, opt_state, params, value=value)
        recorded = record(params, value, gradient, opt_state)
        return (optax.apply_updates(params, updates), opt_state), recorded

    begin = (params, optimizer.init(params))
    (params, _), records = jax.lax.scan(step, begin, inputs, length)
    return params, records


def halt_at_nonfinite(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Stops all further updates once a loss, gradient or update isn't finite; its state is `(inner state,
    alive)`."""

    def init(params: PyTree) -> tuple[Any, Array]:
        return optimizer.init(params), jnp.array(True)

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, tuple[Any, Array]]:
        inner, alive = state
        gradient_norm = optax.tree.norm(updates)
        updates, later = optimizer.update(updates, inner, params)
        sizes = (extra["value"], gradient_norm, optax.tree.norm(updates))
        alive &= jnp.all(jnp.isfinite(jnp.stack(sizes)))
        inner = jax.tree.map(lambda new, old: jnp.where(alive, new, old), later, inner)
        return jax.tree.map(lambda u: jnp.where(alive, u, 0), updates), (inner, alive)

    return optax.GradientTransformationExtraArgs(init, update)


@dataclass(frozen=True)
class DescentPath:
    """`params` of n + 1 points, leaves `[n + 1, ...]`, `loss [n + 1]` and `gradient_norm [n + 1]` there."""

    params: PyTree
    loss: Float[np.ndarray, " points"]
    gradient_norm: Float[np.ndarray, " points"]


def path_of(
    loss: Callable[[PyTree], Array], params: PyTree, optimizer: optax.GradientTransformation, steps: int
) -> DescentPath:
    """Follows an optimizer down a loss, first point and last included."""

    def record(params: PyTree, value: Array, gradient: PyTree, opt_state: Any) -> tuple[PyTree, Array, Array]:
        return params, value, optax.tree.norm(gradient)

    follow = jax.jit(
        lambda begin: descend(lambda p, _: loss(p), begin, optimizer, None, record, steps + 1)[1]
    )
    points, values, norms = follow(params)
    return DescentPath(points, np.asarray(values, np.float64), np.asarray(norms, np.float64))


def clipped_sgd(learning_rate: float, clip: str = "none", at: float = 1.0) -> optax.GradientTransformation:
    """Returns θ ← θ − η g with g unclipped, each entry in [−c, c], or g · min(1, c/‖g‖), c = `at`. Pascanu et al.
    2013.

    Raises ValueError for an unknown `clip`.
    """
    clippings = {"none": optax.identity(), "value": optax.clip(at), "norm": optax.clip_by_global_norm(at)}
    if clip not in clippings:
        raise ValueError(f"clip must be one of {', '.join(clippings)}, but is {clip!r}")
    return optax.chain(clippings[clip], optax.sgd(learning_rate))
