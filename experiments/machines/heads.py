"""A Neural Turing machine watched while it reads: its heads, its memory, and the model's answers."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from data import ArrayExamples, Batch, collate
from experiments.cell_view import CellView
from experiments.machines.bits import bit_costs
from experiments.objective import classification
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


def read_images(model: Any, params: Params, images: ArrayExamples) -> dict[str, np.ndarray]:
    """Returns what a machine does with K images, inputs `[K, T, D]`, read row by row, under names that begin with
    `watched|`: `rows [K, T, D]`, `labels` and `answers [K]`, `writes` and `reads [K, T, heads, N]`, and of each row
    the share that was written there of what is read last, `held [K, T]`."""
    batch = jax.tree.map(jnp.asarray, collate(images, images.inputs.shape[1]))
    own, xs = CellView(model, classification).entry(params, batch)
    seen = [
        {name: np.asarray(value) for name, value in diagnostics(model.cell, own, row).items()}
        for row in jnp.swapaxes(xs, 0, 1)
    ]
    answers = jnp.argmax(model.apply(params, batch.inputs, mask=batch.mask), axis=-1)
    sizes = [np.linalg.norm(last_read(one), axis=(1, 2)) for one in seen]
    found = {
        "rows": images.inputs,
        "labels": images.targets,
        "answers": np.asarray(answers),
        "writes": np.stack([one["write_weights"] for one in seen]),
        "reads": np.stack([one["read_weights"] for one in seen]),
        "held": np.stack([size / max(size.sum(), 1e-30) for size in sizes]),
    }
    return {f"watched|{name}": value for name, value in found.items()}


def last_read(seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """Computes what each step put into the vectors read last, `[T, R, M]`:

        c_t = Σ_i r_i (Σ_write w_ti a_t) ∘ Π_{s>t} Π_write (1 − w_si e_s)

    With what is left of the memory at the start, their sum over the steps is what is read. They leave out what a
    step passed on by being read in between."""
    writing, reading = seen["write_weights"], seen["read_weights"][-1]
    kept = np.prod(1 - np.einsum("twn,twm->twnm", writing, seen["erase"]), axis=1)
    later = np.concatenate([np.cumprod(kept[:0:-1], axis=0)[::-1], np.ones_like(kept[:1])])
    added = np.einsum("twn,twm->tnm", writing, seen["add"])
    return np.einsum("rn,tnm->trm", reading, added * later)
