"""Optimizers, clipping and learning-rate schedules, built from Optax by one config."""

from train.optimizer.clipping import make_clipping
from train.optimizer.config import Clip, OptimizerConfig, OptimizerName, Schedule, require_choice
from train.optimizer.rules import make_optimizer, make_schedule, rate_of

__all__ = [
    "Clip",
    "OptimizerConfig",
    "OptimizerName",
    "Schedule",
    "make_clipping",
    "make_optimizer",
    "make_schedule",
    "rate_of",
    "require_choice",
]
