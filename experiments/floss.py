"""The flossing loss: the mean square of the largest Lyapunov exponents, by itself or beside a task's loss.

`train` doesn't know `analysis`: an experiment puts the two together and hands the loss to the training loop.
Engelken 2023.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from analysis import lyapunov_spectrum
from data import Batch
from experiments.training import Loss
from models import Cell
from models.cell import Array, Params
from train import SumCount


@dataclass(frozen=True)
class Floss:
    """When and how exponents are pushed to zero."""

    exponents: int = 16
    """How many of the largest, k."""
    trajectories: int = 1
    """Sequences of each batch, on each device, along which they are measured."""
    qr_every: int = 5
    """Steps from one orthonormalisation to the next."""
    steps: int = 200
    """Updates before training."""
    learning_rate: float = 0.01
    """Of these, by Adam."""
    weight: float = 1.0
    """Of the mean of λ² beside the task's loss, during training."""

    def __post_init__(self) -> None:
        for name in ("exponents", "trajectories", "qr_every", "steps"):
            if getattr(self, name) < 1:
                option = f"--floss.{name.replace('_', '-')}"
                raise ValueError(
                    f"{option} must be a whole number of at least 1, but is {getattr(self, name)}"
                )
        for name in ("learning_rate", "weight"):
            if not 0 < getattr(self, name) < float("inf"):
                option = f"--floss.{name.replace('_', '-')}"
                raise ValueError(f"{option} must be above 0 and finite, but is {getattr(self, name)}")


def flossing_loss(cell: Cell, params: Params, xs: Array, floss: Floss) -> Array:
    """mean λ_i² over the k largest exponents along each of `xs [T, N, D]`, from the cell's initial state.

    An exponent of −∞ (a step that takes a direction away) has no gradient and is left out.
    """
    spectrum = partial(
        lyapunov_spectrum, cell, params, k=floss.exponents, warmup=0, qr_every=min(floss.qr_every, len(xs))
    )
    exponents = jax.vmap(lambda xs: spectrum(xs).exponents, in_axes=1)(xs)
    return jnp.mean(jnp.where(jnp.isfinite(exponents), exponents, 0.0) ** 2)


@dataclass(frozen=True)
class Flossing:
    """A `LossFn`: the flossing loss by itself, or `weight` times it beside the task's; equal for equal fields."""

    cell: Cell
    floss: Floss
    task: Loss | None = None

    def __call__(
        self, params: Params, carry: Any, batch: Batch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        inputs = jnp.asarray(batch.inputs)[:, : self.floss.trajectories]
        term = flossing_loss(self.cell, params["params"]["recurrent"]["cell"], inputs, self.floss)
        if self.task is None:
            return (term, jnp.ones(())), (carry, {})
        (total, count), (carry, others) = self.task(params, carry, batch, key)
        # Losses are sums over a device's share, so the term counts as often as what they are sums of.
        weighted = (self.floss.weight * term * count, count)
        return (total + weighted[0], count), (carry, others | {"flossing": weighted})
