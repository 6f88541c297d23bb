"""The functions that `fit` calls besides the loss, and checks of what the loss returns as it is traced."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

import jax
import jax.numpy as jnp

from train.feed import Batches
from train.state import PyTree, TrainState, leaf_name

Hook = Callable[[int, TrainState], Mapping[str, SupportsFloat]]
"""`(step, state) -> metrics` to log besides the step's own; the state must not be kept, as it is donated next."""

Score = Callable[[PyTree], Mapping[str, float]]
"""`parameters -> metrics` computed on the host, from decoded outputs."""

StopWhen = Callable[[Mapping[str, float]], bool]
"""`means of an evaluation -> True to end training`; a function of these alone, so that a resumed run ends there
too."""


@dataclass(frozen=True)
class Renewal:
    """Training data regenerated from the parameters every N steps, as in back-translation.

    Attributes:
        every: the number of steps between two renewals, an epoch of the training data.
        batches: `(parameters, epoch) -> batches`, for epochs 1, 2, …, which makes and stores them, or reads what
            is stored. Parameters are None if a run is resumed or rolled back within the epoch: they must be stored.
        drop_after: `epoch -> None`, drops the stored batches of all later epochs, after a rollback.
    """

    every: int
    batches: Callable[[PyTree | None, int], Batches]
    drop_after: Callable[[int], None]


OWN_METRICS = ("loss", "grad_norm", "clipped_norm", "update_norm", "param_norm", "learning_rate", "finite")


def check_names(metrics: Mapping[str, Any]) -> None:
    """Raises ValueError if a metric has the name of one of the train step's own."""
    for name in metrics:
        if name in OWN_METRICS:
            raise ValueError(
                f"the loss function's metric {name!r} has the name of one of the train step's own; rename it"
            )


def check_pairs(pairs: Mapping[str, Any]) -> None:
    """Raises ValueError if a loss or metric isn't a pair of scalars."""
    for name, pair in pairs.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(
                f"the loss function's {name!r} must be a pair (sum, count), as the losses of `train` return, "
                f"but is {pair}"
            )
        if any(jnp.shape(value) != () for value in pair):
            shapes = ", ".join(str(jnp.shape(value)) for value in pair)
            raise ValueError(
                f"the loss function's {name!r} has sum and count of shapes {shapes}; reduce both to scalars"
            )


def check_carry(new: PyTree, old: PyTree) -> None:
    """Raises ValueError if the carry changed its structure, shapes or types."""
    if jax.tree.structure(new) != jax.tree.structure(old):
        raise ValueError(
            f"the loss function was given a carry of structure {jax.tree.structure(old)} "
            f"and returned {jax.tree.structure(new)}; return the same structure"
        )
    for (path, before), after in zip(jax.tree.leaves_with_path(old), jax.tree.leaves(new), strict=True):
        if (jnp.shape(before), jnp.result_type(before)) != (jnp.shape(after), jnp.result_type(after)):
            raise ValueError(
                f"the carry's leaf {leaf_name(path) or 'itself'} is {jax.typeof(before)} before the step and "
                f"{jax.typeof(after)} after it; its shape and dtype must not change"
            )
