"""Update rules and learning-rate schedules, built from Optax by one config."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from train.optimizer.config import COSINES, PLATEAUS, OptimizerConfig
from train.optimizer.own import is_own, own_rule
from train.optimizer.transforms import average_parameters, scale_externally


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation from clipped gradients to updates; clipping is separate, so that both norms are
    logged.

    With gradient g, rate η:  sgd −ηg;  momentum v ← μv + g, −ηv;
    adam m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², −η m̂/(√v̂ + ε) with m̂, v̂ the bias-corrected means;
    adamw the update of adam − ηλw for weights w with two axes or more, λ = `weight_decay`;
    lion −η (sign(β₁m + (1−β₁)g) + λw), then m ← ρm + (1−ρ)g with ρ = `lion_decay`, λw as in adamw;
    rmsprop v ← ρv + (1−ρ)g², −η g/√(v + ε).

    `update` takes the loss as `value=`, which the schedule "plateau" needs. For "validation_plateau" the loop sets
    the scale of the updates after each evaluation (`train.optimizer.transforms`).

    Examples:
        >>> optimizer = make_optimizer(OptimizerConfig(name="sgd", learning_rate=0.1))
        >>> params = {"kernel": jnp.zeros(2)}
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(2)}, optimizer.init(params), params)
        >>> np.asarray(updates["kernel"])
        array([-0.1, -0.1], dtype=float32)
    """
    parts = [rule(config)]
    if config.schedule == "plateau":
        parts.append(
            optax.contrib.reduce_on_plateau(
                config.decay_rate, config.patience, accumulation_size=config.decay_steps
            )
        )
    if config.schedule == "validation_plateau":
        parts.append(scale_externally())
    if config.average_from is not None:
        parts.append(average_parameters(config.average_from))
    return optax.with_extra_args_support(parts[0] if len(parts) == 1 else optax.chain(*parts))


def rule(config: OptimizerConfig) -> optax.GradientTransformation:
    """Returns the update rule itself, at the rate of the schedule."""
    rate = make_schedule(config)
    if is_own(config.name):
        return own_rule(config.name, rate)
    match config.name:
        case "sgd":
            return optax.sgd(rate)
        case "momentum":
            return optax.sgd(rate, momentum=config.momentum)
        case "adam":
            return optax.adam(rate, b1=config.beta1, b2=config.beta2, eps=config.epsilon)
        case "adamw":
            return optax.adamw(
                rate,
                b1=config.beta1,
                b2=config.beta2,
                eps=config.epsilon,
                weight_decay=config.weight_decay,
                mask=decaying,
            )
        case "lion":
            return optax.lion(
                rate,
                b1=config.beta1,
                b2=config.lion_decay,
                weight_decay=config.weight_decay,
                mask=decaying,
            )
        case "rmsprop":
            return optax.rmsprop(rate, decay=config.rms_decay, eps=config.epsilon)
    raise AssertionError(config.name)  # the config refuses it


def decaying(params: Any) -> Any:
    """Tells of each leaf whether weight decay shrinks it: arrays with two axes or more, not biases and gains."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def make_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates done; for a plateau, the highest.

    With `warmup_steps` w the rate of another schedule than a cosine is min(1, n/w) of what it would be; a cosine
    begins at its highest after them.

    The schedule of a cosine without a length raises ValueError when it is called (see `OptimizerConfig.for_run`).
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule in COSINES:
        if not config.decay_steps:
            return _undecided
        if not warmup:
            return optax.cosine_decay_schedule(peak, config.decay_steps, alpha=config.end_fraction)
        end = peak * config.end_fraction
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, config.decay_steps, end)
    schedule = optax.constant_schedule(peak)
    if config.schedule == "exponential":
        schedule = optax.exponential_decay(
            peak,
            config.decay_steps,
            config.decay_rate,
            transition_begin=config.decay_begin,
            staircase=config.staircase,
        )
    return schedule if not warmup else lambda n: jnp.minimum(1.0, n / warmup) * schedule(n)


def _undecided(count: Any) -> Any:
    raise ValueError("optimizer.decay_steps is 0: give it, or the run's length by config.for_run(steps)")


def rate_of(config: OptimizerConfig, step: jax.Array | int, opt_state: optax.OptState) -> jax.Array:
    """Returns the learning rate of the update that returned `opt_state`, after `step` earlier updates."""
    rate = jnp.asarray(make_schedule(config)(step), jnp.float32)
    if config.schedule not in PLATEAUS:
        return rate
    return rate * optax.tree.get(opt_state, "scale")
