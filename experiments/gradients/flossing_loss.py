"""Flossing: the mean square of the largest Lyapunov exponents as a loss, and what it does to a net.

`train` doesn't know `analysis`: an experiment puts the two together and hands the loss to the training loop.
Engelken 2023.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from analysis import gradient_by_lag, lyapunov_spectrum
from data import Batch
from experiments.harness.checks import check_at_least, check_positive
from experiments.network import NetworkConfig
from experiments.objective import Loss, Measure
from experiments.problems import Problem
from models import Cell
from models.cell import Array, Output, Params, State
from train import SumCount

MEASURED = 16  # held-out sequences along which exponents and gradients are measured


@dataclass(frozen=True)
class Floss:
    """The schedule and strength by which exponents are pushed to zero."""

    trajectories: int = 1
    """Sequences of each batch, on each device, along which exponents are measured."""
    qr_every: int = 5
    """Steps between orthonormalisations."""
    steps: int | None = None
    """Updates before training; by default 200, or --steps if that is fewer."""
    learning_rate: float = 0.01
    """Learning rate of these updates, by Adam."""
    weight: float = 1.0
    """Weight of the mean of λ² in the loss, during training."""

    def __post_init__(self) -> None:
        whole = {"floss.trajectories": self.trajectories, "floss.qr_every": self.qr_every}
        check_at_least(1, **whole | ({} if self.steps is None else {"floss.steps": self.steps}))
        check_positive(**{"floss.learning_rate": self.learning_rate, "floss.weight": self.weight})


def flossing_loss(cell: Cell, params: Params, xs: Array, k: int, qr_every: int) -> Array:
    """Returns mean λ_i² over the k largest exponents along each of `xs [T, N, D]`, from the cell's initial state.

    An exponent of −∞ (a step that takes a direction away) has no gradient and is left out.
    """
    spectrum = partial(lyapunov_spectrum, cell, params, k=k, warmup=0, qr_every=min(qr_every, len(xs)))
    exponents = jax.vmap(lambda xs: spectrum(xs).exponents, in_axes=1)(xs)
    return jnp.mean(jnp.where(jnp.isfinite(exponents), exponents, 0.0) ** 2)


@dataclass(frozen=True)
class Flossing:
    """A `LossFn`: the flossing loss by itself, or `weight` times it beside the task's; equal for equal fields."""

    cell: Cell
    exponents: int
    floss: Floss
    task: Loss | None = None

    def __call__(
        self, params: Params, carry: Any, batch: Batch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        inputs = jnp.asarray(batch.inputs)[:, : self.floss.trajectories]
        own = params["params"]["recurrent"]["cell"]
        term = flossing_loss(self.cell, own, inputs, self.exponents, self.floss.qr_every)
        if self.task is None:
            return (term, jnp.ones(())), (carry, {})
        (total, count), (carry, others) = self.task(params, carry, batch, key)
        # Losses are sums over a device's share, so the term counts as often as what they are sums of.
        weighted = (self.floss.weight * term * count, count)
        return (total + weighted[0], count), (carry, others | {"flossing": weighted})


def measure(layer: Cell, problem: Problem, params: Params) -> dict[str, np.ndarray]:
    """Measures what flossing is after, of one net on held-out sequences: `exponents [N, S]`, all of them, in double
    precision, and `gradient_norms [T, N]` of the last step's loss at lags 1 … T."""
    batch = take_examples(problem.data.test()[0], MEASURED)
    own = params["params"]["recurrent"]["cell"]
    with jax.enable_x64(True):
        precise = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), own)
        along = jnp.asarray(batch.inputs, jnp.float64)
        spectrum = partial(lyapunov_spectrum, layer, precise, qr_every=min(5, len(along) // 2))
        exponents = np.asarray(jax.vmap(lambda xs: spectrum(xs).exponents, in_axes=1)(along))
    model = problem.model(NetworkConfig(), layer)
    norms = last_gradients(layer, model, problem.measure, problem.each_step, params, batch)
    return {"exponents": exponents, "gradient_norms": np.asarray(norms)}


def take_examples(batch: Batch, count: int) -> Batch:
    """Takes the first `count` sequences."""
    taken = [np.take(leaf, range(count), axis) for leaf, axis in zip(batch, batch.batch_axes(), strict=True)]
    return Batch(*taken)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def last_gradients(
    layer: Cell, model: nn.Module, measure: Measure, each_step: bool, params: Params, batch: Batch
) -> Array:
    """Returns ‖∂L_T/∂s_{T−k}‖ of each sequence's own loss at the last step: `[T, N]`, row i for lag i + 1. (A
    measure's sum is differentiated, not its mean, so that each sequence keeps its own gradient.)"""

    def loss(final: State, ys: Output) -> Array:
        answer = jnp.asarray(model.apply(params, ys[-1], method=lambda module, y: module.readout(y)))
        if not each_step:
            return next(iter(measure(answer, batch).values()))[0]
        last = Batch(*(jnp.asarray(leaf)[-1:] for leaf in batch))
        return next(iter(measure(answer[None], last).values()))[0]

    return gradient_by_lag(layer, params["params"]["recurrent"]["cell"], jnp.asarray(batch.inputs), loss)
