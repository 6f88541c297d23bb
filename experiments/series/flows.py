"""The generated systems as cells without input, so that the laboratory measures their Lyapunov exponents."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from analysis import lyapunov_spectrum
from data.dynamics import System, settled
from models import Cell
from models.cell import Array, BatchShape, Key, Params

WARM_UP = 0.1  # share of the steps in which the frame aligns


@dataclass(frozen=True)
class Flow(Cell):
    """A system over one sampling interval: s_t = step(s_{t−1}), y_t = what is observed of it. No input, D = 0.

    Parameters: `start [S]`, the state at the beginning."""

    system: System

    def init(self, key: Key, input_size: int) -> Params:
        return {"start": jnp.asarray(self.system.start(0))}

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> Array:
        start = params["start"]
        return jnp.broadcast_to(start, (*batch_shape, *start.shape))

    def step(self, weights: Params, state: Array, drive: Array) -> tuple[Array, Array]:
        stepped = self.system.step(state)
        return stepped, self.system.observe(stepped)


def leading_exponent(system: System, steps: int, seed: int = 0) -> tuple[float, float]:
    """Measures the largest Lyapunov exponent, in nats per sampling interval, along a trajectory of `steps`
    intervals, and its standard error, in double precision. Benettin et al. 1980."""
    with jax.enable_x64(True):
        params = {"start": jnp.asarray(settled(system, seed))}
        xs = jnp.zeros((steps, 0))
        found = lyapunov_spectrum(Flow(system), params, xs, k=2, warmup=round(WARM_UP * steps), qr_every=1)
    return float(np.asarray(found.exponents)[0]), float(np.asarray(found.standard_errors)[0])
