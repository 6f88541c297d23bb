"""Training of word vectors: a step goes through many small batches, each of which changes only the rows it
reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from data.words.windows import WindowBatch
from experiments.objective import Objective
from models.cell import Array, Params
from models.words.vectors import Architecture, Tables, Windows, WordLoss, descend, pairs_in, window_loss
from train import BATCH_AXIS, OptimizerConfig, SumCount

# The change of a step is its gradient, with the sign turned: this applies it as it is.
APPLY = OptimizerConfig(name="sgd", learning_rate=1.0, clip="none")


# Compared by identity, as the noise distribution is an array: a task has one.
@dataclass(frozen=True, eq=False)
class WordObjective:
    """The loss of word vectors, its descent through a batch, and its evaluation.

    A gradient over all V words for each of a few hundred centres would take longer to add than to compute. Here a
    step descends through the M small batches of a batch, one after another, in place, and gives the change of all
    of them as its gradient, for the optimizer `APPLY`. Several devices go through shares of the small batches, each
    with its own copy of the parameters, and the changes add: gradient descent with delay, as gensim's threads do.
    """

    architecture: Architecture
    kind: WordLoss
    negatives: int
    log_noise: Array  # log q [V]
    devices: int = 1

    def __call__(
        self, params: Params, carry: Any, batch: WindowBatch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        """Returns the loss of the first small batch, with a gradient that is the change by all of them."""
        loss, count = loss_of_step(self, Tables(**params["params"]), batch)
        return (loss, count), (carry, {})

    @property
    def options(self) -> tuple[Architecture, WordLoss, int, Array]:
        """Returns the last arguments of the functions of `models.words.vectors`."""
        return self.architecture, self.kind, self.negatives, self.log_noise

    def evaluate(self, params: Params, batch: WindowBatch) -> dict[str, SumCount]:
        """Measures the loss per pair over all small batches."""
        tables = Tables(**params["params"])

        def add(sums: tuple[Array, Array], windows: Windows) -> tuple[tuple[Array, Array], None]:
            total, count = sums
            return (total + window_loss(tables, windows, *self.options), count + self.count(windows)), None

        zero = (jnp.zeros(()), jnp.zeros(()))
        return {"loss": jax.lax.scan(add, zero, windows_of(batch))[0]}

    def count(self, windows: Windows) -> Array:
        """Counts the pairs of a small batch, as a number that a sum can be divided by."""
        return pairs_in(windows, self.architecture).astype(jnp.float32)


def windows_of(batch: WindowBatch) -> Windows:
    """Returns the windows of all small batches."""
    return Windows(*(jnp.asarray(leaf) for leaf in batch[:-1]))


def first_loss(objective: WordObjective, tables: Tables, batch: WindowBatch) -> SumCount:
    """Computes the loss of the first small batch, and counts its pairs."""
    first = jax.tree.map(lambda leaf: leaf[0], windows_of(batch))
    return window_loss(tables, first, *objective.options), objective.count(first)


def _forward(objective: WordObjective, tables: Tables, batch: WindowBatch) -> tuple[SumCount, Tables]:
    def step(tables: Tables, one: tuple[Windows, Array]) -> tuple[Tables, None]:
        windows, rate = one
        return descend(tables, windows, rate, *objective.options), None

    loss, count = first_loss(objective, tables, batch)
    after, _ = jax.lax.scan(step, tables, (windows_of(batch), jnp.asarray(batch.rate)))
    # The gradients of all devices are added and divided by all their counts.
    pairs = count if objective.devices == 1 else jax.lax.psum(count, BATCH_AXIS)
    return (loss, count), jax.tree.map(lambda a, b: (a - b) * pairs, tables, after)


def _backward(
    objective: WordObjective, change: Tables, cotangent: tuple[Array, Array]
) -> tuple[Tables, None]:
    return jax.tree.map(lambda leaf: leaf * cotangent[0], change), None


loss_of_step: Any = jax.custom_vjp(first_loss, nondiff_argnums=(0,))
loss_of_step.defvjp(_forward, _backward)


def word_objective(
    architecture: Architecture, kind: WordLoss, negatives: int, log_noise: Array
) -> tuple[Objective, Callable[[int], Objective]]:
    """Builds the objective of one device, and the function that gives that of several."""

    def of(devices: int) -> Objective:
        own = WordObjective(architecture, kind, negatives, log_noise, devices)
        return Objective(own, own.evaluate)

    return of(1), of
