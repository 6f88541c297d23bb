"""Measures what a machine's memory does to gradients: by the step stored, row by row, over a sequence."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from data import Batch
from experiments.cell_view import CellView
from experiments.machines.bits import bit_costs
from models import Cell, unroll
from models.cell import Array, Params, State


@partial(jax.jit, static_argnums=0)
def influence(model: nn.Module, params: Params, batch: Batch) -> Array:
    """Computes |∂ bits_t / ∂ x_s|, the gradient of the bits asked for at step t by the input of step s, `[T, T]`:
    rows t, zero where nothing is asked; root mean squares over the sequences of the batch."""
    steps = jnp.arange(batch.inputs.shape[0])

    def row(t: Array) -> Array:
        def cost(inputs: Array) -> Array:
            logits = jnp.asarray(model.apply(params, inputs, mask=batch.mask))
            there = (steps == t)[:, None] & batch.mask
            return bit_costs(logits, batch._replace(mask=there))["bits"][0]

        gradient = jax.grad(cost)(jnp.asarray(batch.inputs))
        return jnp.sqrt(jnp.mean(jnp.sum(gradient**2, axis=-1), axis=-1))

    return jax.lax.map(row, steps)


@partial(jax.jit, static_argnums=0)
def row_gains(cell: Cell, params: Params, xs: Array) -> Array:
    """Computes, for every step and row of a machine's memory, the mean singular value of ∂M_{t,i} / ∂M_{t−1,i}, the
    rest of the state held: 1 for a row that is left alone, 0 for one that is erased. `xs [T, D]` gives `[T, N]`."""
    weights = cell.prepare(params)

    def step(state: Any, x: Array) -> tuple[State, Array]:
        drive = cell.drive(weights, x)

        def written(memory: Array) -> Array:
            return cell.step(weights, state._replace(memory=memory), drive)[0].memory

        whole = jax.jacfwd(written)(state.memory)  # [N, M, N, M]
        blocks = jnp.moveaxis(jnp.diagonal(whole, axis1=0, axis2=2), -1, 0)  # [N, M, M]
        gains = jnp.mean(jnp.linalg.svd(blocks, compute_uv=False), axis=-1)
        return cell.step(weights, state, drive)[0], gains

    return jax.lax.scan(step, cell.initial_state(params), xs)[1]


@partial(jax.jit, static_argnums=0)
def exponent(cell: Cell, params: Params, xs: Array) -> Array:
    """Computes λ₁ of one sequence `[T, D]`, ln σ₁(∂s_T / ∂s_0) / T, with all of the state in the Jacobian."""
    flat, restore = ravel_pytree(cell.initial_state(params))

    def final(flat: Array) -> Array:
        return ravel_pytree(unroll(cell, params, xs, restore(flat), method="scan")[0])[0]

    largest = jnp.linalg.svd(jax.jacfwd(final)(flat), compute_uv=False)[0]
    return jnp.log(largest) / xs.shape[0]


def by_lag(influences: np.ndarray) -> np.ndarray:
    """Averages influences `[T, T]` over the steps with answers, by lag t − s: `[T]`, NaN where there is none."""
    asked = np.flatnonzero(influences.any(axis=1))
    found = np.full(len(influences), np.nan)
    for lag in range(len(found)):
        pairs = [influences[t, t - lag] for t in asked if t >= lag]
        if pairs:
            found[lag] = np.mean(pairs)
    return found


def measured(model: Any, params: Params, batch: Batch, machine: bool) -> dict[str, np.ndarray]:
    """Returns `by_lag [T]` over a batch of equally long sequences, and of its first sequence the `exponent`, and of
    a machine the `gains [T, N]`."""
    own, xs = CellView(model, bit_costs).entry(params, batch)
    found = {
        "by_lag": by_lag(np.asarray(influence(model, params, batch))),
        "exponent": np.asarray(exponent(model.cell, own, xs[:, 0])),
    }
    return found | ({"gains": np.asarray(row_gains(model.cell, own, xs[:, 0]))} if machine else {})
