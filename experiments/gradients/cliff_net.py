"""The loss of a net on one batch, as a function over a plane of its parameters."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from analysis import loss_surface
from data import split_key
from data.synthetic.batches import MakeBatch
from experiments.objective import Evaluation, classification
from experiments.problems import threefry
from models.cell import Array, Params
from train import mean


@dataclass(frozen=True)
class NetLoss:
    """The loss of a net on one batch of a task, the same each time; equal ones are compiled once."""

    model: nn.Module
    task: MakeBatch
    seed: int
    batch_size: int

    def __call__(self, params: Params) -> Array:
        batch = self.task(split_key(threefry(self.seed), "train"), self.batch_size)
        return mean(next(iter(Evaluation(self.model, classification)(params, batch).values())))

    def init(self) -> Params:
        """Returns fresh parameters."""
        batch = self.task(split_key(threefry(self.seed), "train"), self.batch_size)
        return self.model.init(
            jax.random.fold_in(jax.random.key(self.seed), 1), batch.inputs, mask=batch.mask
        )


def orthonormal(first: Params, second: Params) -> tuple[Params, Params]:
    """Returns two directions of length one at a right angle in the plane of those given: distances on the surface
    are those between parameters."""

    def inner(a: Params, b: Params) -> Array:
        return sum(
            (jnp.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)), jnp.zeros(())
        )

    def unit(tree: Params) -> Params:
        return jax.tree.map(lambda leaf: leaf / jnp.sqrt(inner(tree, tree)), tree)

    first = unit(first)
    across = inner(first, second)
    return first, unit(jax.tree.map(lambda a, b: b - across * a, first, second))


def surface_about(
    loss: NetLoss, params: Params, plane: tuple[Params, Params], reach: float, points: int
) -> dict[str, np.ndarray]:
    """Returns the surface `reach` far from the parameters each way: `first`, `second [points]`, `loss`,
    `gradient_norm [points, points]`."""
    axis = np.linspace(-reach, reach, points)
    surface = loss_surface(loss, params, plane, axis, axis)
    return {
        "first": axis,
        "second": axis,
        "loss": surface.loss,
        "gradient_norm": surface.gradient_norm,
    }
