"""A Neural Turing machine watched while it reads: its heads, its memory, and the model's answers."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from data import Batch
from experiments.cell_view import CellView
from experiments.machines.bits import bit_costs
from models import Cell, NeuralTuringMachine
from models.cell import Array, Params, State

WATCHED = ("read_weights", "write_weights", "add", "erase", "memory", "gate")


def is_machine(cell: Cell) -> bool:
    """Tells whether a cell is a machine with heads to be watched."""
    return isinstance(cell, NeuralTuringMachine)


def watched(model: Any, params: Params, batch: Batch) -> dict[str, np.ndarray]:
    """Returns what a model with a machine does with a batch of one sequence, over its T valid steps, under names
    that begin with `watched|`: `inputs [T, D]`, `targets [T, W]`, `answers [T, W]` (probabilities), `read_weights
    [T, R, N]`, `write_weights [T, W, N]`, `add` and `erase [T, W, M]`, `gate [T, R + W]`, `memory [T, N, M]` and
    `reads [T, R, M]`."""
    own, xs = CellView(model, bit_costs).entry(params, batch)
    seen = {name: np.asarray(value) for name, value in diagnostics(model.cell, own, xs[:, 0]).items()}
    seen["reads"] = np.einsum("trn,tnm->trm", seen["read_weights"], seen["memory"])
    seen |= {"inputs": np.asarray(batch.inputs)[:, 0], "targets": np.asarray(batch.targets)[:, 0]}
    seen["answers"] = np.asarray(probabilities(model, params, batch))[:, 0]
    valid = np.asarray(batch.mask)[:, 0]
    return {f"watched|{name}": value[valid] for name, value in seen.items()}


@partial(jax.jit, static_argnums=0)
def probabilities(model: nn.Module, params: Params, batch: Batch) -> Array:
    """Returns the probability of a 1 for every bit of every step."""
    return jax.nn.sigmoid(jnp.asarray(model.apply(params, batch.inputs, mask=batch.mask)))


@partial(jax.jit, static_argnums=0)
def diagnostics(cell: Cell, params: Params, xs: Array) -> dict[str, Array]:
    """Returns the machine's own diagnostics over a sequence `[T, D]`."""
    weights = cell.prepare(params)

    def step(state: State, x: Array) -> tuple[State, dict[str, Array]]:
        drive = cell.drive(weights, x)
        seen = cell.observe(weights, state, drive)
        return cell.step(weights, state, drive)[0], {name: seen[name] for name in WATCHED}

    return jax.lax.scan(step, cell.initial_state(params), xs)[1]
