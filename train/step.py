"""One update of the parameters, and many of them in one dispatch: pure functions."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax

from train.optimizer import OptimizerConfig, make_clipping, make_optimizer, make_schedule
from train.state import PyTree, TrainState, leaf_name

Metrics = dict[str, jax.Array]

LossFn = Callable[[PyTree, PyTree, PyTree, jax.Array], tuple[jax.Array, tuple[PyTree, Metrics]]]
"""`(params, carry, batch, key) -> (loss, (carry, metrics))`, loss and metrics scalars.

`jit` caches by its hash: write a module's function or a frozen dataclass with `__call__`, no closure made anew.
"""

OWN_METRICS = ("loss", "grad_norm", "clipped_norm", "update_norm", "param_norm", "learning_rate", "finite")


def train_step(
    state: TrainState, batch: PyTree, *, loss_fn: LossFn, optimizer: OptimizerConfig
) -> tuple[TrainState, Metrics]:
    """One update: gradient, clipping, optimizer. Not jitted; `train_chunk` is.

    A loss, gradient or update that isn't finite changes nothing: the state comes back as it was, its step
    not counted, and `metrics["finite"]` is False. A finite gradient whose norm overflows is not finite here.

    Args:
        state: where training stands.
        batch: one batch, as `loss_fn` takes it.
        loss_fn: see `LossFn`.
        optimizer: see `OptimizerConfig`.

    Returns:
        The next state, and scalars: `loss`, `grad_norm` (Euclidean norm of the whole gradient before
        clipping), `clipped_norm` (after), `update_norm`, `param_norm` (after the update), `learning_rate`,
        `finite`, and the metrics of `loss_fn`.

    Raises:
        ValueError: a metric isn't a scalar or bears a name of the step's own, or the carry changes its form.
    """
    key = jax.random.fold_in(state.key, state.step)
    gradient_of = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, (carry, extra)), gradient = gradient_of(state.params, state.carry, batch, key)
    _check_carry(carry, state.carry)
    _check_metrics(extra)

    clipping, transform = make_clipping(optimizer), make_optimizer(optimizer)
    clipped, _ = clipping.update(gradient, clipping.init(state.params))
    updates, opt_state = transform.update(clipped, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)

    grad_norm, update_norm = optax.tree.norm(gradient), optax.tree.norm(updates)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & jnp.isfinite(update_norm)
    metrics = {
        "loss": loss,
        "grad_norm": grad_norm,
        "clipped_norm": optax.tree.norm(clipped),
        "update_norm": update_norm,
        "param_norm": optax.tree.norm(params),
        "learning_rate": jnp.asarray(make_schedule(optimizer)(state.step), jnp.float32),
        "finite": finite,
        **extra,
    }
    new = (state.step + 1, params, opt_state, carry)
    old = (state.step, state.params, state.opt_state, state.carry)
    return TrainState(*jax.tree.map(partial(jnp.where, finite), new, old), key=state.key), metrics


@partial(jax.jit, static_argnames=("loss_fn", "optimizer"), donate_argnames="state")
def train_chunk(
    state: TrainState, batches: PyTree, count: jax.Array | int, *, loss_fn: LossFn, optimizer: OptimizerConfig
) -> tuple[TrainState, Metrics]:
    """`count` train steps in one dispatch, one batch each; ends early at the first that isn't finite.

    `count` is not part of what is compiled: one program serves every chunk no longer than `batches`, and a
    step has the same bits however the steps are cut into chunks. Hence a resumed run equals an unbroken one.

    Args:
        state: where training stands; its memory is given away, so it can't be used afterwards.
        batches: batches stacked, leaves `[length, …]`; those from `count` on are not looked at.
        count: how many steps, at most `length`.
        loss_fn: see `LossFn`.
        optimizer: see `OptimizerConfig`.

    Returns:
        The state after the last finite step, and the metrics of `train_step` stacked `[length]`. Of a step
        that wasn't done they are zero; the first False among `finite[:count]` is the step that wasn't finite.
    """
    step = partial(train_step, loss_fn=loss_fn, optimizer=optimizer)

    def batch_at(index: jax.Array | int) -> PyTree:
        return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), batches)

    def unfinished(loop: tuple) -> jax.Array:
        index, finite, _, _ = loop
        return finite & (index < count)

    def advance(loop: tuple) -> tuple:
        index, _, state, stacked = loop
        state, metrics = step(state, batch_at(index))
        stacked = jax.tree.map(lambda steps, one: steps.at[index].set(one), stacked, metrics)
        return index + 1, metrics["finite"], state, stacked

    length = jax.tree.leaves(batches)[0].shape[0]
    _, one = jax.eval_shape(step, state, jax.eval_shape(batch_at, 0))
    stacked = jax.tree.map(lambda metric: jnp.zeros((length, *metric.shape), metric.dtype), one)
    start = (jnp.zeros((), jnp.int32), jnp.array(True), state, stacked)
    _, _, state, stacked = jax.lax.while_loop(unfinished, advance, start)
    return state, stacked


def _check_metrics(metrics: Metrics) -> None:
    for name, value in metrics.items():
        if name in OWN_METRICS:
            raise ValueError(
                f"the loss function's metric {name!r} has a name of the train step's own; rename it"
            )
        if jnp.shape(value) != ():
            raise ValueError(
                f"the loss function's metric {name!r} has shape {jnp.shape(value)}; "
                "a metric is a scalar, so reduce it"
            )


def _check_carry(new: PyTree, old: PyTree) -> None:
    if jax.tree.structure(new) != jax.tree.structure(old):
        raise ValueError(
            f"the loss function was given a carry of the form {jax.tree.structure(old)} "
            f"and returned {jax.tree.structure(new)}; return what it was given"
        )
    for (path, before), after in zip(jax.tree.leaves_with_path(old), jax.tree.leaves(new), strict=True):
        if (jnp.shape(before), jnp.result_type(before)) != (jnp.shape(after), jnp.result_type(after)):
            raise ValueError(
                f"the carry's leaf {leaf_name(path) or 'itself'} is {jax.typeof(before)} before the step and "
                f"{jax.typeof(after)} after it; its shape and dtype must not change"
            )
