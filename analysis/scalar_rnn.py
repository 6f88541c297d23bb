"""The net of one unit whose error surface has a cliff. Pascanu, Mikolov & Bengio 2013, figure 6."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from models.cell import Array, BatchShape, Cell, Key, Params, check_at_least
from models.recurrence.unroll import unroll


@dataclass(frozen=True)
class ScalarRNN(Cell):
    """x_t = w σ(x_{t−1}) + b, without input; the output is x_t, and x_0 = `start`.

    For w = 5 there are two stable points for −2.65561 < b < −2.34439 and one elsewhere: at the ends of that
    interval one of them disappears, the state moves to the other, and the loss has a cliff. Doya 1993.
    Parameters: w and b, each `[]`. State and output: x `[*batch]`.
    """

    start: float = 0.0

    def init(self, key: Key, input_size: int = 0) -> Params:
        """Draws w, b ~ N(0, 1)."""
        check_at_least(0, input_size=input_size)
        w, b = jax.random.normal(key, (2,))
        return {"w": w, "b": b}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        return jnp.full(batch_shape, self.start, params["w"].dtype)

    def step(self, weights: Params, state: Array, drive: Array) -> tuple[Array, Array]:
        x = weights["w"] * jax.nn.sigmoid(state) + weights["b"]
        return x, x


@dataclass(frozen=True)
class ScalarRNNLoss:
    """(σ(x_T) − target)² after T = `steps`: the paper's loss, with 50 steps and target 0.7."""

    cell: ScalarRNN = ScalarRNN()
    steps: int = 50
    target: float = 0.7

    def __call__(self, params: Params) -> Array:
        return (jax.nn.sigmoid(last_state(self.cell, params, self.steps)) - self.target) ** 2


def last_state(cell: Cell, params: Params, steps: int) -> Array:
    """Computes the state after `steps` steps of a cell without input."""
    return unroll(cell, params, jnp.zeros((steps, 0), jax.tree.leaves(params)[0].dtype))[0]


def bistable_range(w: float) -> tuple[float, float]:
    """Computes the interval of b in which x = w σ(x) + b has three solutions, the outer two stable.

    At either end two of them merge, where the slope w σ(x)(1 − σ(x)) of the map is one: σ = (1 ± √(1 − 4/w))/2,
    x = ln σ/(1 − σ), b = x − w σ. For w = 5: −2.65561 and −2.34439. Doya 1993.

    Raises ValueError for w ≤ 4, where no b has more than one solution.
    """
    if not 4 < w < math.inf:
        raise ValueError(f"w must be above 4 for two stable points, but is {w}")
    root = math.sqrt(1 - 4 / w)
    low, high = ((math.log(s / (1 - s)) - w * s) for s in ((1 + root) / 2, (1 - root) / 2))
    return low, high


def fixed_point_curve(
    w: float, x: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Computes the b for which each x is a fixed point, b = x − w σ(x), and its stability, |w σ(x)(1 − σ(x))| <
    1."""
    sigma = 1 / (1 + np.exp(-np.asarray(x, np.float64)))
    return x - w * sigma, np.abs(w * sigma * (1 - sigma)) < 1
