"""Ours."""

import jax

from benchmarks.layers.jitted import JittedLayer
from benchmarks.work import Work
from models import CELLS, Cell, unroll
from models.weights.torch import from_torch


def build(work: Work, sharded: bool) -> JittedLayer:
    cell: Cell = CELLS[work.family](work.H)  # type: ignore[call-arg]

    def outputs(params: dict[str, jax.Array], xs: jax.Array) -> jax.Array:
        return unroll(cell, params, xs)[1]

    return JittedLayer(work, from_torch(cell, work.weights()), outputs, sharded=sharded)
