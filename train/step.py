"""One update of the parameters, and many in one dispatch, as pure functions."""

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from train.hooks import check_carry, check_names, check_pairs
from train.metrics import SumCount, mean
from train.optimizer import OptimizerConfig, make_clipping, make_optimizer, rate_of
from train.parts import sum_over_parts
from train.sharding import (
    REPLICATED,
    SHARDED,
    axis_over,
    batch_specs,
    check_divides,
    device_put_global,
    pad_to,
    psum_over,
    shard_map_batch,
)
from train.state import PyTree, TrainState, is_average, leaf_name

Metrics = dict[str, jax.Array]

LossFn = Callable[[PyTree, PyTree, PyTree, jax.Array], tuple[SumCount, tuple[PyTree, dict[str, SumCount]]]]
"""`(params, carry, batch, key) -> ((sum, count), (carry, {metric: (sum, count)}))`.

Loss and metrics are sums over the given examples and counts, so that shards of a batch, however uneven, add up to
the batch: the training loss is Σ sums / Σ counts (zero if the count is). The batch's leaves begin with the batch
axis, or it has a method `batch_axes()`.

`jit` caches by its hash: use a module-level function or a frozen dataclass with `__call__`, not a new closure.
"""

UpdateAverages = Callable[[PyTree, PyTree, jax.Array], PyTree]
"""`(params, batch, key) -> params`: updates what changes without a gradient (running averages), after each step.

Hashed by `jit` as a `LossFn` is. On several devices it sees its device's shard of the batch, and must return the
same on all: it sums statistics over `BATCH_AXIS`.
"""


def loss_and_gradient(
    state: TrainState, batch: PyTree, *, loss_fn: LossFn, accumulate: int = 1, axis_name: str | None = None
) -> tuple[jax.Array, PyTree, PyTree, Metrics]:
    """Computes the loss at the state, its gradient, the new carry and the metrics, for the batch on all devices:

        L = Σ_d S_d / Σ_d n_d        ∂L/∂θ = Σ_d ∂S_d/∂θ / Σ_d n_d

    with S_d and n_d the sum and count of device d. Each device draws with its own key, and computes its shard of
    the batch in `accumulate` parts, one after another.
    """

    def sums_of(carry: PyTree, batch: PyTree, key: jax.Array) -> tuple[PyTree, PyTree]:
        def loss_sum(params: PyTree) -> tuple[jax.Array, tuple[jax.Array, PyTree, dict[str, SumCount]]]:
            loss, (after, metrics_of_loss) = loss_fn(params, carry, batch, key)
            check_pairs({"loss": loss} | metrics_of_loss)
            return loss[0], (loss[1], after, metrics_of_loss)

        (total, (count, after, metrics_of_loss)), gradient = jax.value_and_grad(loss_sum, has_aux=True)(
            state.params
        )
        check_carry(after, carry)
        return ((total, count), gradient, metrics_of_loss), after

    # Summed and divided in single precision at least: float16 overflows above 65,504.
    sums, carry = sum_over_parts(sums_of, state.carry, batch, key_of_step(state, axis_name), accumulate)
    # All in one, as each sum over the devices synchronises them.
    loss, wide_gradient, metrics_of_loss = psum_over(sums, axis_name)
    gradient = jax.tree.map(
        lambda leaf, g: mean((leaf, loss[1].astype(leaf.dtype))).astype(g.dtype), wide_gradient, state.params
    )
    return mean(loss), gradient, carry, {name: mean(pair) for name, pair in metrics_of_loss.items()}


def train_step(
    state: TrainState,
    batch: PyTree,
    *,
    loss_fn: LossFn,
    optimizer: OptimizerConfig,
    update_averages: UpdateAverages | None = None,
    accumulate: int = 1,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """Performs one update: gradient, clipping, optimizer. Not jitted; `train_chunk` is.

    If the loss, gradient or update isn't finite, the state is returned unchanged, without counting the step, and
    `metrics["finite"]` is False. A finite gradient whose norm overflows counts as not finite.

    Args:
        state: the current state.
        batch: one batch, as `loss_fn` takes it.
        loss_fn: see `LossFn`.
        optimizer: see `OptimizerConfig`; it doesn't change parameters under the name `averages`.
        update_averages: see `UpdateAverages`.
        accumulate: the number of parts in which the batch is computed, which must divide it. Their gradients add
            up to that of the batch, except for rounding and random draws.
        axis_name: inside `jax.shard_map` the axis over which the batch (and the carry) is sharded.

    Returns:
        The next state, and scalars: `loss`, `grad_norm` (Euclidean norm of the whole gradient before
        clipping), `clipped_norm` (after), `update_norm`, `param_norm` (of the next state), `learning_rate`,
        `finite`, and the metrics of `loss_fn`.

    Raises:
        ValueError: loss or metric isn't a pair of scalars, a metric has the name of one of the step's own, or the
            carry changes its structure, shapes or types.
    """
    loss, gradient, carry, metrics_of_loss = loss_and_gradient(
        state, batch, loss_fn=loss_fn, accumulate=accumulate, axis_name=axis_name
    )
    check_names(metrics_of_loss)

    clipping, transform = make_clipping(optimizer), make_optimizer(optimizer)
    clipped, _ = clipping.update(gradient, clipping.init(state.params), state.params)
    updates, opt_state = transform.update(clipped, state.opt_state, state.params, value=loss)
    # A gradient of zero is not enough to leave averages alone: weight decay has none.
    updates = jax.tree.map_with_path(lambda path, u: jnp.zeros_like(u) if is_average(path) else u, updates)
    params = optax.apply_updates(state.params, updates)

    rate, grad_norm = rate_of(optimizer, state.step, opt_state), optax.tree.norm(gradient)
    clipped_norm = norm_after_clipping(optimizer, grad_norm, clipped)
    update_norm = norm_of_update(optimizer, rate * clipped_norm, updates)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & jnp.isfinite(update_norm)
    if update_averages is not None:
        params = update_averages(params, batch, jax.random.fold_in(key_of_step(state, axis_name), 1))
    new = (state.step + 1, params, opt_state, carry)
    old = (state.step, state.params, state.opt_state, state.carry)
    next_state = TrainState(*jax.tree.map(partial(jnp.where, finite), new, old), key=state.key)
    return next_state, {
        "loss": loss,
        "grad_norm": grad_norm,
        "clipped_norm": clipped_norm,
        "update_norm": update_norm,
        # Of the result: for `params` XLA would recompute the whole update.
        "param_norm": optax.tree.norm(next_state.params),
        "learning_rate": rate,
        "finite": finite,
        **metrics_of_loss,
    }


def key_of_step(state: TrainState, axis_name: str | None) -> jax.Array:
    """Returns the random key of this step, a different one on each device of several."""
    key = jax.random.fold_in(state.key, state.step)
    return key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name))


@partial(
    jax.jit,
    static_argnames=("loss_fn", "optimizer", "update_averages", "accumulate", "mesh"),
    donate_argnames="state",
)
def train_chunk(
    state: TrainState,
    batches: PyTree,
    count: jax.Array | int,
    *,
    loss_fn: LossFn,
    optimizer: OptimizerConfig,
    update_averages: UpdateAverages | None = None,
    accumulate: int = 1,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Metrics]:
    """Performs `count` train steps in one dispatch, one batch each; ends early at the first that isn't finite.

    `count` is not static: one program serves every chunk no longer than `batches`, and a step has the same bits
    however the steps are split into chunks. Hence a resumed run equals an uninterrupted one.

    On a mesh of several devices each runs the whole loop with its shard of every batch, and they synchronise once
    per step, to sum loss, gradient and metrics. The result is that of one device up to rounding, except for
    random draws, which differ by device. A batch that doesn't divide is padded with masked examples.

    Args:
        state: the current state; it is donated, so it can't be used afterwards.
        batches: batches stacked, leaves `[length, …]`; those from `count` on are ignored.
        count: the number of steps, at most `length`.
        loss_fn: see `LossFn`.
        optimizer: see `OptimizerConfig`.
        update_averages: see `UpdateAverages`.
        accumulate: see `train_step`; a batch that doesn't divide is padded with masked examples.
        mesh: the devices over which a batch is sharded (`batch_mesh`); None for one.

    Returns:
        The state after the last finite step, and the metrics of `train_step` stacked `[length]`. They are zero for
        steps that weren't done; the first False among `finite[:count]` is the step that wasn't finite.

    Raises:
        ValueError: a batch that doesn't divide over the devices can't be padded.
    """
    axis_name = axis_over(mesh)
    # Jitted: the shapes of the metrics and the loop share a trace. Inlined: the program is the same.
    step = jax.jit(
        partial(
            train_step,
            loss_fn=loss_fn,
            optimizer=optimizer,
            update_averages=update_averages,
            accumulate=accumulate,
            axis_name=axis_name,
        ),
        inline=True,
    )
    length = jax.tree.leaves(batches)[0].shape[0]
    one = jax.eval_shape(lambda: jax.tree.map(itemgetter(0), batches))
    size = check_divides(one, state.carry, mesh, accumulate)
    if size:
        batches = jax.vmap(partial(pad_to, size=size))(batches)

    def loop(state: TrainState, batches: PyTree, count: jax.Array) -> tuple[TrainState, Metrics]:
        def batch_at(index: jax.Array | int) -> PyTree:
            return jax.tree.map(
                lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), batches
            )

        def unfinished(carry: tuple) -> jax.Array:
            index, finite, _, _ = carry
            return finite & (index < count)

        def advance(carry: tuple) -> tuple:
            index, _, state, stacked = carry
            state, metrics = step(state, batch_at(index))
            stacked = jax.tree.map(lambda steps, one: steps.at[index].set(one), stacked, metrics)
            return index + 1, metrics["finite"], state, stacked

        _, metrics = jax.eval_shape(step, state, batch_at(0))
        stacked = jax.tree.map(lambda metric: jnp.zeros((length, *metric.shape), metric.dtype), metrics)
        start = (jnp.zeros((), jnp.int32), jnp.array(True), state, stacked)
        _, _, state, stacked = jax.lax.while_loop(unfinished, advance, start)
        return state, stacked

    specs = state_specs()
    batch_spec = batch_specs(one, stacked=True) if axis_name else None
    return shard_map_batch(loop, mesh, (specs, batch_spec, REPLICATED), (specs, REPLICATED))(
        state, batches, jnp.asarray(count)
    )


def on_devices(state: TrainState, mesh: Mesh) -> TrainState:
    """Puts the state on the devices where `train_chunk` leaves it, so that the first chunk can be donated.

    Raises:
        ValueError: the carry doesn't divide over the devices.
    """
    for path, leaf in jax.tree.leaves_with_path(state.carry):
        if jnp.ndim(leaf) == 0 or len(leaf) % mesh.size:
            raise ValueError(
                f"the carry's leaf {leaf_name(path) or 'itself'} of shape {jnp.shape(leaf)} must begin with a "
                f"batch axis that divides over {mesh.size} devices; change the batch size, or use fewer devices"
            )
    return jax.tree.map(
        lambda spec, part: device_put_global(part, NamedSharding(mesh, spec)),
        state_specs(),
        state,
        is_leaf=lambda node: isinstance(node, PartitionSpec),
    )


def state_specs() -> TrainState:
    """Returns the sharding of a state: replicated, except for the carry, which is sharded like the batch."""
    return TrainState(REPLICATED, REPLICATED, REPLICATED, SHARDED, REPLICATED)


def norm_after_clipping(config: OptimizerConfig, norm: jax.Array, clipped: Any) -> jax.Array:
    """Returns ‖g‖ after clipping, without a sum over all parameters (half the cost of an update) if it is known."""
    match config.clip:
        case "none":
            return norm
        case "global_norm":
            return jnp.where(
                norm < config.clip_at, norm, jnp.asarray(config.clip_at, norm.dtype) * (norm / norm)
            )
    return optax.tree.norm(clipped)


def norm_of_update(config: OptimizerConfig, scaled: jax.Array, updates: Any) -> jax.Array:
    """Returns ‖u‖: for plain gradient descent `scaled`, the rate times the norm of the clipped gradient."""
    return scaled if config.name == "sgd" else optax.tree.norm(updates)
