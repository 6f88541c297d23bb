"""All steps at once, in log T rounds, for cells that are linear in their state.

s_t = a_t ∘ s_{t−1} + b_t is a chain of affine maps, and the composition of two is affine too:
(a₂, b₂) after (a₁, b₁) = (a₂ a₁, a₂ b₁ + b₂). As composition is associative, `jax.lax.associative_scan` computes
all prefixes. Blelloch 1990; Martin & Cundy 2018.
"""

import jax
import jax.numpy as jnp

from models.cell import Array, Cell, Drive, LinearCell, Output, State, Weights
from models.cells.elman import Elman
from models.recurrence.scan import expand_mask, scan

Affine = tuple[State, State]


def can_associate(cell: Cell, mask: Array | None) -> bool:
    """Returns True if the cell is linear in its state; for one with a full matrix only if no step is masked."""
    return isinstance(cell, LinearCell) or (is_linear_elman(cell) and mask is None)


def is_linear_elman(cell: Cell) -> bool:
    """Returns True for an Elman net without a nonlinearity: s_t = s_{t−1} R + d_t."""
    return type(cell) is Elman and cell.activation == "identity"


def associative(
    cell: Cell,
    weights: Weights,
    state: State,
    drive: Drive,
    *,
    mask: Array | None = None,
    reverse: bool = False,
) -> tuple[State, Output]:
    """Computes the same as `models.recurrence.scan.scan`, for cells that satisfy `can_associate`."""
    if not jax.tree.leaves(drive)[0].shape[0]:
        return scan(cell, weights, state, drive, mask=mask, reverse=reverse)
    if not isinstance(cell, LinearCell):
        states = constant_matrix(weights["recurrent"], state, drive, reverse)
        return states[0 if reverse else -1], states
    a, b = cell.coefficients(weights, drive)
    if mask is not None:
        a = jax.tree.map(lambda a: jnp.where(expand_mask(mask, a), a, jnp.ones_like(a)), a)
        b = jax.tree.map(lambda b: jnp.where(expand_mask(mask, b), b, jnp.zeros_like(b)), b)
    first, last = (-1, 0) if reverse else (0, -1)
    b = jax.tree.map(lambda a, b, s: b.at[first].add(a[first] * s), a, b, state)
    _, states = jax.lax.associative_scan(compose, (a, b), reverse=reverse)
    ys = cell.readout(weights, states, drive)
    if mask is not None:
        ys = jax.tree.map(lambda y: jnp.where(expand_mask(mask, y), y, jnp.zeros_like(y)), ys)
    return jax.tree.map(lambda s: s[last], states), ys


def compose(first: Affine, second: Affine) -> Affine:
    """Composes two affine maps: `first`, then `second`."""
    (a1, b1), (a2, b2) = first, second
    a = jax.tree.map(lambda a2, a1: a2 * a1, a2, a1)
    return a, jax.tree.map(lambda a2, b1, b2: a2 * b1 + b2, a2, b1, b2)


def constant_matrix(matrix: Array, state: Array, drive: Array, reverse: bool) -> Array:
    """Computes s_t = s_{t−1} R + d_t for all t: `[T, *batch, H]`.

    As R is the same for all steps, the maps need not carry their matrices: round k adds to every s_t the entry 2^k
    steps before it, times R^(2^k), and squares the power. Hillis & Steele 1986.
    """
    states = drive[::-1] if reverse else drive
    states = states.at[0].add(state @ matrix)
    shift = 1
    while shift < states.shape[0]:
        states = states.at[shift:].add(states[:-shift] @ matrix)
        matrix, shift = matrix @ matrix, 2 * shift
    return states[::-1] if reverse else states
