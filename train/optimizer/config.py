"""The options of an optimizer, its clipping and its schedule."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args

from train.optimizer.own import is_own, own_rule, split_name

OptimizerName = Literal["sgd", "momentum", "adam", "adamw", "lion", "rmsprop"]
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

    name: str = "adam"
    """sgd; momentum (Polyak 1964); adam (Kingma & Ba 2015); adamw: adam with decoupled weight decay (Loshchilov &
    Hutter 2019); lion (Chen et al. 2023); rmsprop (Tieleman & Hinton 2012); or any Optax transformation, by a
    function of yours: path/to/file.py:make_optimizer is called with the learning rate, a function of the step."""
    learning_rate: float = 1e-3
    """The rate, or the highest rate of a schedule."""
    schedule: Schedule = "constant"
    """Schedule of the rate after warm-up; plateau falls when the training loss stops falling, validation_plateau
    when the validation loss does; warmup_cosine is cosine that must have a warm-up."""
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
    """Steps in which the rate rises linearly from 0 (the first update is zero) to that of the schedule."""
    end_fraction: float = 0.0
    """cosine: the end rate as a fraction of the highest."""
    momentum: float = 0.9
    """momentum: the fraction of the last update that is kept."""
    beta1: float = 0.9
    """adam, adamw: decay rate of the mean gradient; lion: the share of the mean in the update."""
    beta2: float = 0.999
    """adam, adamw: decay rate of the mean squared gradient."""
    lion_decay: float = 0.99
    """lion: decay rate of the mean gradient."""
    weight_decay: float = 0.01
    """adamw, lion: each update subtracts this times the rate times the weight, of arrays with two axes or more;
    biases and the gains of norms don't decay."""
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
        if is_own(self.name):
            split_name(self.name)
        else:
            names = (*get_args(OptimizerName), "path/to/file.py:make_optimizer")
            require_choice("name", self.name, names)
        require_choice("schedule", self.schedule, get_args(Schedule))
        require_choice("clip", self.clip, get_args(Clip))
        require_positive("learning_rate", self.learning_rate)
        require_positive("epsilon", self.epsilon)
        require_positive("clip_at", self.clip_at)
        for field in ("momentum", "beta1", "beta2", "lion_decay", "rms_decay"):
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
        for field, least in (("decay_begin", 0), ("patience", 1), ("average_from", 0), ("warmup_steps", 0)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise ValueError(f"optimizer.{field} is {value}; it must be {least} or more")
        if self.decay_steps < 0 or (self.schedule in ("exponential", "plateau") and not self.decay_steps):
            raise ValueError(
                f"optimizer.decay_steps is {self.decay_steps}; "
                f"for the schedule {self.schedule} it must be above 0"
            )
        least = 1 if self.schedule == "warmup_cosine" else 0
        if self.schedule in COSINES and not (least <= self.warmup_steps < (self.decay_steps or math.inf)):
            raise ValueError(
                f"optimizer.warmup_steps is {self.warmup_steps}; for {self.schedule} it must be at least {least} "
                f"and below decay_steps, which is {self.decay_steps or 'the length of the run'}"
            )

    def for_run(self, steps: int, eval_every: int | None = None) -> "OptimizerConfig":
        """Returns the config for a run of `steps` steps, evaluated every `eval_every` (None if unknown): a cosine
        without `decay_steps` ends with the run.

        Raises ValueError if the rate would be 0 before the end, if warm-up or averaging wouldn't fit into the
        run, if the rate couldn't fall within it, or if the optimizer of a file can't be made.
        """
        if is_own(self.name):
            own_rule(self.name, lambda step: self.learning_rate)
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
        if self.warmup_steps >= steps:
            raise ValueError(
                f"optimizer.warmup_steps is {self.warmup_steps}, but the run ends at step {steps}: lower it"
            )
        if self.schedule not in COSINES:
            return self
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


def require_positive(field: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"optimizer.{field} is {value}; it must be above 0 and finite")


def require_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"optimizer.{field} is {value!r}; it must be one of {', '.join(choices)}")
