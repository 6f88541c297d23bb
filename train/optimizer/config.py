"""Optimizers, clipping and learning-rate schedules, built from Optax by one config."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from train.transforms import average_parameters, scale_externally

OptimizerName = Literal["sgd", "momentum", "adam", "adamw", "rmsprop"]
Clip = Literal["none", "value", "block_rms", "block_norm", "global_norm", "adaptive"]
Schedule = Literal["constant", "cosine", "exponential", "warmup_cosine", "plateau", "validation_plateau"]
COSINES = ("cosine", "warmup_cosine")
PLATEAUS = ("plateau", "validation_plateau")


# Frozen, so that equal configs hash alike and compile once.
@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer with clipping and a schedule.

    Raises:
        ValueError: a number is outside its range.
    """

    name: OptimizerName = "adam"
    """sgd; momentum (Polyak 1964); adam (Kingma & Ba 2015); adamw: adam with decoupled weight decay (Loshchilov &
    Hutter 2019); rmsprop (Tieleman & Hinton 2012)."""
    learning_rate: float = 1e-3
    """The rate, or the highest rate of a schedule."""
    schedule: Schedule = "constant"
    """Schedule of the rate; warmup_cosine first rises linearly from 0 (its first update is zero); plateau falls
    when the training loss stops falling, validation_plateau when the validation loss does."""
    decay_steps: int = 0
    """cosine: steps until the end rate, including warm-up, 0 for all of the run's; exponential: steps per factor
    decay_rate; plateau: steps over which the loss is averaged."""
    decay_rate: float = 0.5
    """exponential and plateaus: the factor on the rate."""
    decay_begin: int = 0
    """exponential: steps before the decay begins."""
    staircase: bool = False
    """exponential: decay in one step every decay_steps steps, not gradually."""
    patience: int = 1
    """plateaus: means or evaluations in a row without improvement before the rate falls."""
    warmup_steps: int = 0
    """warmup_cosine: steps to reach the highest rate."""
    end_fraction: float = 0.0
    """cosine: the end rate as a fraction of the highest."""
    momentum: float = 0.9
    """momentum: the fraction of the last update that is kept."""
    beta1: float = 0.9
    """adam, adamw: decay rate of the mean gradient."""
    beta2: float = 0.999
    """adam, adamw: decay rate of the mean squared gradient."""
    weight_decay: float = 0.01
    """adamw: each update subtracts this times the rate times the weight, of arrays with two axes or more; biases
    and the gains of norms don't decay."""
    rms_decay: float = 0.9
    """rmsprop: decay rate of the mean squared gradient."""
    epsilon: float = 1e-8
    """adam, adamw, rmsprop: keeps the division finite."""
    clip: Clip = "global_norm"
    """Kind of clipping. It bounds each entry (value), each array's root mean square or norm, the norm of all arrays
    together, or each unit's norm relative to that of its weights (adaptive; Brock et al. 2021)."""
    clip_at: float = 1.0
    """The bound; for adaptive the largest ratio of gradient to weights (0.01 is usual)."""
    average_from: int | None = None
    """Average the parameters from this update on, and evaluate the average (averaged SGD)."""

    def __post_init__(self) -> None:
        require_choice("name", self.name, get_args(OptimizerName))
        require_choice("schedule", self.schedule, get_args(Schedule))
        require_choice("clip", self.clip, get_args(Clip))
        require_positive("learning_rate", self.learning_rate)
        require_positive("epsilon", self.epsilon)
        require_positive("clip_at", self.clip_at)
        for field in ("momentum", "beta1", "beta2", "rms_decay"):
            value = getattr(self, field)
            if not 0 <= value < 1:
                raise ValueError(f"optimizer.{field} is {value}; it must lie in [0, 1)")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                f"optimizer.weight_decay is {self.weight_decay}; it must be 0 or more and finite"
            )
        if not 0 <= self.end_fraction <= 1:
            raise ValueError(f"optimizer.end_fraction is {self.end_fraction}; it must lie in [0, 1]")
        if self.schedule == "exponential":
            require_positive("decay_rate", self.decay_rate)
        if self.schedule in PLATEAUS and not 0 < self.decay_rate < 1:
            raise ValueError(
                f"optimizer.decay_rate is {self.decay_rate}; for {self.schedule} it must lie between 0 and 1"
            )
        for field, least in (("decay_begin", 0), ("patience", 1), ("average_from", 0)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise ValueError(f"optimizer.{field} is {value}; it must be {least} or more")
        if self.decay_steps < 0 or (self.schedule in ("exponential", "plateau") and not self.decay_steps):
            raise ValueError(
                f"optimizer.decay_steps is {self.decay_steps}; "
                f"for the schedule {self.schedule} it must be above 0"
            )
        if self.schedule == "warmup_cosine" and not (0 < self.warmup_steps < (self.decay_steps or math.inf)):
            raise ValueError(
                f"optimizer.warmup_steps is {self.warmup_steps}; for warmup_cosine it must lie "
                f"between 0 and decay_steps, which is {self.decay_steps or 'the length of the run'}"
            )

    def for_run(self, steps: int, eval_every: int | None = None) -> "OptimizerConfig":
        """Returns the config for a run of `steps` steps, evaluated every `eval_every` (None if unknown): a cosine
        without `decay_steps` ends with the run.

        Raises ValueError if the rate would be 0 before the end, if warm-up or averaging wouldn't fit into the
        run, or if the rate couldn't fall within it.
        """
        first = self.first_decay_step(eval_every)
        if first is not None and first >= steps:
            option = {
                "exponential": "decay_begin",
                "plateau": "decay_steps",
                "validation_plateau": "patience",
            }
            given = f"{option[self.schedule]} {getattr(self, option[self.schedule])}"
            raise ValueError(
                f"optimizer.schedule is {self.schedule}, but with {given} the rate can't fall before step {first}, "
                f"and the run ends at step {steps}: lower it, or train longer"
            )
        if self.average_from is not None and self.average_from >= steps:
            raise ValueError(
                f"optimizer.average_from is {self.average_from}, but the run ends at step {steps}: lower it"
            )
        if self.schedule not in COSINES:
            return self
        if self.schedule == "warmup_cosine" and self.warmup_steps >= steps:
            raise ValueError(
                f"optimizer.warmup_steps is {self.warmup_steps}, but the run ends at step {steps}: lower it"
            )
        if 0 < self.decay_steps < steps and not self.end_fraction:
            raise ValueError(
                f"optimizer.decay_steps is {self.decay_steps}: the learning rate is 0 from there on, but the run "
                f"ends at step {steps}: leave it out for the run's length, or give an end_fraction above 0"
            )
        return dataclasses.replace(self, decay_steps=self.decay_steps or steps)

    def first_decay_step(self, eval_every: int | None) -> int | None:
        """Returns the first step at which an exponential or a plateau can lower the rate; None if that is
        unknown, or for other schedules."""
        match self.schedule:
            case "exponential":
                return self.decay_begin + (self.decay_steps if self.staircase else 1)
            case "plateau":
                # The first mean is the first best; the last step of the last mean has the lower rate.
                return self.decay_steps * (1 + self.patience) - 1
            case "validation_plateau":  # the loss before the first update is the first best
                return None if eval_every is None else eval_every * self.patience
        return None


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation from clipped gradients to updates; clipping is separate, so that both norms are
    logged.

    With gradient g, rate η:  sgd −ηg;  momentum v ← μv + g, −ηv;
    adam m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², −η m̂/(√v̂ + ε) with m̂, v̂ the bias-corrected means;
    adamw the update of adam − ηλw for weights w with two axes or more, λ = `weight_decay`;
    rmsprop v ← ρv + (1−ρ)g², −η g/√(v + ε).

    `update` takes the loss as `value=`, which the schedule "plateau" needs. For "validation_plateau" the loop sets
    the scale of the updates after each evaluation (`train.transforms`).
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
                mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
            )
        case "rmsprop":
            return optax.rmsprop(rate, decay=config.rms_decay, eps=config.epsilon)


def make_clipping(config: OptimizerConfig) -> optax.GradientTransformation:
    """Returns a stateless transformation that bounds gradients at c = `clip_at`; `update` needs the parameters.

    value: each entry into [−c, c];  block_rms: each array g / max(1, rms(g)/c), rms(g) = √(mean g²);
    block_norm: each array g · min(1, c/‖g‖);
    global_norm: all of them g · min(1, c/‖g‖), ‖g‖ over every entry of every array (Pascanu et al. 2013);
    adaptive: for the weights w into each unit, a column of a matrix `[in, units]` or of a block `[…, in, units]`,
    and for a vector as a whole, g · min(1, c max(‖w‖, 0.001)/‖g‖) (Brock, De, Smith & Simonyan 2021).
    """
    match config.clip:
        case "none":
            return optax.identity()
        case "value":
            return optax.clip(config.clip_at)
        case "block_rms":
            return optax.clip_by_block_rms(config.clip_at)
        case "block_norm":
            return clip_by_block_norm(config.clip_at)
        case "global_norm":
            return optax.clip_by_global_norm(config.clip_at)
        case "adaptive":
            return clip_by_unit(config.clip_at)


def clip_by_block_norm(bound: float) -> optax.GradientTransformation:
    """Clips each array g by itself: g · min(1, c/‖g‖)."""

    def clipped(gradient: jax.Array) -> jax.Array:
        norm = jnp.linalg.norm(gradient.ravel())
        return jnp.where(norm > bound, gradient * (bound / jnp.where(norm > bound, norm, 1.0)), gradient)

    def update(gradients: Any, params: Any) -> Any:
        del params
        return jax.tree.map(clipped, gradients)

    return optax.stateless(update)


def clip_by_unit(ratio: float, least: float = 1e-3) -> optax.GradientTransformation:
    """Clips the gradient g of the weights w into each unit: g · min(1, c max(‖w‖, least)/‖g‖).

    Unlike here, `optax.adaptive_grad_clip` treats a kernel `[1, units]` as a vector, and a block-diagonal one as
    that of a convolution.
    """

    def norms(leaf: jax.Array) -> jax.Array:
        return (
            jnp.linalg.norm(leaf, axis=-2, keepdims=True) if leaf.ndim > 1 else jnp.linalg.norm(leaf.ravel())
        )

    def clipped(gradient: jax.Array, weights: jax.Array) -> jax.Array:
        bound, norm = ratio * jnp.maximum(norms(weights), least), norms(gradient)
        return jnp.where(norm > bound, gradient * (bound / jnp.where(norm > bound, norm, 1.0)), gradient)

    return optax.stateless(lambda gradients, params: jax.tree.map(clipped, gradients, params))


def make_schedule(config: OptimizerConfig) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates done; for a plateau, the highest.

    The schedule of a cosine without a length raises ValueError when it is called (see `OptimizerConfig.for_run`).
    """
    if config.schedule in COSINES and not config.decay_steps:
        return _undecided
    peak, end = config.learning_rate, config.learning_rate * config.end_fraction
    match config.schedule:
        case "constant" | "plateau" | "validation_plateau":
            return optax.constant_schedule(peak)
        case "cosine":
            return optax.cosine_decay_schedule(peak, config.decay_steps, alpha=config.end_fraction)
        case "exponential":
            return optax.exponential_decay(
                peak,
                config.decay_steps,
                config.decay_rate,
                transition_begin=config.decay_begin,
                staircase=config.staircase,
            )
        case "warmup_cosine":
            return optax.warmup_cosine_decay_schedule(0.0, peak, config.warmup_steps, config.decay_steps, end)


def _undecided(count: Any) -> Any:
    raise ValueError("optimizer.decay_steps is 0: give it, or the run's length by config.for_run(steps)")


def rate_of(config: OptimizerConfig, step: jax.Array | int, opt_state: optax.OptState) -> jax.Array:
    """Returns the learning rate of the update that returned `opt_state`, after `step` earlier updates."""
    rate = jnp.asarray(make_schedule(config)(step), jnp.float32)
    if config.schedule not in PLATEAUS:
        return rate
    return rate * optax.tree.get(opt_state, "scale")


def require_positive(field: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"optimizer.{field} is {value}; it must be above 0 and finite")


def require_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"optimizer.{field} is {value!r}; it must be one of {', '.join(choices)}")
