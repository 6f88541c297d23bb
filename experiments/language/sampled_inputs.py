"""The options of scheduled sampling."""

import math
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp

from experiments.harness.checks import check_between, check_positive, check_share
from experiments.harness.errors import UserError
from models import exponential_schedule, inverse_sigmoid_schedule, linear_schedule
from models.cell import Array


@dataclass(frozen=True)
class SampledInputs:
    """Scheduled sampling (Bengio, Vinyals, Jaitly & Shazeer 2015): the share p of the training inputs that are
    drawn from the model, as a function of the steps done. The model first runs through each batch on its own draws,
    which about doubles the time of a step.

    Raises:
        ValueError: a number is outside its range.
    """

    schedule: Literal["none", "linear", "exponential", "inverse_sigmoid"] = "none"
    """none: the right inputs always (teacher forcing); linear: p = min(most, slope · step); exponential:
    p = 1 − base^step; inverse_sigmoid: p = 1 − k / (k + exp(step / k)) with k = pace."""
    slope: float = 1e-4
    """linear: increase of the share per step."""
    most: float = 0.25
    """linear: the largest share."""
    base: float = 0.9999
    """exponential: factor per step on the share of right inputs."""
    pace: float = 300.0
    """inverse_sigmoid: k; the share reaches a half at step k ln k."""

    def __post_init__(self) -> None:
        check_positive(**{"sampled_inputs.slope": self.slope})
        check_share(**{"sampled_inputs.most": self.most})
        check_between(0, 1, **{"sampled_inputs.base": self.base})
        if not (self.pace >= 1 and math.isfinite(self.pace)):
            raise UserError("--sampled-inputs.pace", f"must be 1 or more and finite, but is {self.pace}")

    @property
    def used(self) -> bool:
        """Returns True if any input is sampled."""
        return self.schedule != "none"

    def share(self, step: Array) -> Array:
        """Returns p after `step` steps."""
        match self.schedule:
            case "none":
                return jnp.zeros(jnp.shape(step))
            case "linear":
                return jnp.asarray(linear_schedule(step, slope=self.slope, most=self.most))
            case "exponential":
                return exponential_schedule(step, base=self.base)
            case "inverse_sigmoid":
                return inverse_sigmoid_schedule(step, pace=self.pace)
