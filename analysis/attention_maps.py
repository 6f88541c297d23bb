"""Attention maps: the weights with which each step of a sequence attends to every other, or to a memory."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float
from numpy.typing import ArrayLike

from models.cell import Array, Cell, Params, State, check_hashable
from models.checks import check_inputs
from models.layers.layer import check_causal
from models.memory import Memory, check_memory, memory_argument

SELF, PAST, MEMORY = "attention", "past_attention", "memory_attention"  # the last part of a diagnostic's name


def attention_maps(
    cell: Cell,
    params: Params,
    xs: Float[Array, "T D"],
    *,
    memory: Memory | None = None,
    state: State | None = None,
) -> dict[str, Float[Array, "heads T S"]]:
    """Returns the weights of all attention in a causal cell or stack while it reads a sequence `[T, D]` from a
    state, by default its first, by the name of the layer, as `layer2.attention`:

    - attention of the sequence to itself: `[heads, T, T]`, rows the queries, zero above the diagonal and outside
      the window;
    - attention to a memory: `[heads, T, L]`.

    It reads what the cell's `observe` gives under names that end in `.attention` (`[heads, C]` or `[C]`, whose last
    entry is this step), `.past_attention` (the last entry is the step before) or `.memory_attention` (`[heads, L]`
    or `[L]`).

    Raises ValueError for a cell that isn't causal, or in which nothing attends, and for inputs or a memory that
    don't fit."""
    check_hashable(cell)
    check_causal(cell)
    check_inputs(xs, "[T, D]")
    check_memory(cell, memory, ())
    found = {
        name: weights if kind(name) == MEMORY else by_place(weights, latest=0 if kind(name) == SELF else 1)
        for name, weights in observed(cell, params, xs, memory, state).items()
    }
    if not found:
        raise ValueError(f"nothing in a {type(cell).__name__} attends: it has no map to draw")
    return found


@partial(jax.jit, static_argnums=0)
def observed(
    cell: Cell, params: Params, xs: Array, memory: Memory | None, state: State | None = None
) -> dict[str, Array]:
    """Returns the diagnostics of attention over all steps, `[heads, T, …]`."""
    weights = cell.prepare(params, **memory_argument(cell, memory))

    def step(state: State, x: Array) -> tuple[State, dict[str, Array]]:
        drive = cell.drive(weights, x)
        seen = cell.observe(weights, state, drive)
        kept = {name: value for name, value in seen.items() if kind(name) in (SELF, PAST, MEMORY)}
        return cell.step(weights, state, drive)[0], kept

    _, seen = jax.lax.scan(step, cell.initial_state(params) if state is None else state, xs)
    return {
        name: jnp.moveaxis(value, 0, -2) if value.ndim == 3 else value[None] for name, value in seen.items()
    }


def kind(name: str) -> str:
    """Returns the last part of a diagnostic's name: `layer2.attention` → `attention`."""
    return name.split(".")[-1]


def by_place(weights: Float[Array, "heads T C"], latest: int) -> Float[Array, "heads T T"]:
    """Turns weights of C successive steps, of which the last is `latest` steps before the row's own, into weights
    of the steps themselves."""
    steps, context = weights.shape[-2:]
    t = jnp.arange(steps)
    slot = context - 1 + latest - (t[:, None] - t[None])  # of key s in row t
    picked = jnp.take_along_axis(weights, jnp.clip(slot, 0, context - 1)[None], axis=-1)
    return jnp.where((slot >= 0) & (slot < context), picked, 0)


class HeadStatistics(NamedTuple):
    """Measures of the attention of each head of a layer, means over the queries.

    Attributes:
        entropy: of each head's weights in nats: 0 for one place alone, ln S for all S alike.
        distance: of the places attended to from the diagonal, |t S / T − s| in places, for query t of T.
        divergence: between the weights of every two heads, Jensen & Shannon's in nats: 0 for equal ones, ln 2 for
            heads that share no place.
    """

    entropy: np.ndarray  # [heads]
    distance: np.ndarray  # [heads]
    divergence: np.ndarray  # [heads, heads]


def head_statistics(weights: ArrayLike) -> HeadStatistics:
    """Computes the statistics of a layer's weights `[heads, T, S]`, each row of which sums to 1.

    Raises ValueError for weights of another shape. Reference: Lin 1991 (the divergence)."""
    rows = np.asarray(weights, np.float64)
    if rows.ndim != 3 or not rows.size:
        raise ValueError(f"weights have shape {list(rows.shape)}; expected [heads, T, S]")
    steps, places = rows.shape[1:]
    away = np.abs(np.arange(steps)[:, None] * places / steps - np.arange(places))
    entropy = entropies(rows)
    mixed = entropies((rows[:, None] + rows[None]) / 2)
    return HeadStatistics(
        entropy.mean(-1),
        (rows * away).sum(-1).mean(-1),
        (mixed - (entropy[:, None] + entropy[None]) / 2).mean(-1),
    )


def entropies(weights: np.ndarray) -> np.ndarray:
    """Computes −Σ_s α_s ln α_s of every row, in nats: `[..., S]` → `[...]`."""
    return scipy.special.entr(weights).sum(-1)
