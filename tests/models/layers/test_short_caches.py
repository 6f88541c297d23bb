"""Shorter caches change no output over the steps that they are made for."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, Cell, SelfAttention, Stacked, Transformer, unroll
from models.layers.short_caches import with_short_caches

STEPS = 5


@pytest.mark.parametrize("context", [3, 16])
def test_outputs_stay(context: int) -> None:
    """A window below the number of steps stays as it is; a longer one shrinks to it."""
    cell = Stacked((GRU(8), Transformer(8, 2, 2, context=context), SelfAttention(8, 2, context)))
    short = with_short_caches(cell, STEPS)
    params: Any = cell.init(jax.random.key(0), 8)
    xs = jax.random.normal(jax.random.key(1), (STEPS, 2, 8))
    (_, whole), (state, ys) = (jax.jit(partial(unroll, each))(params, xs) for each in (cell, short))
    np.testing.assert_allclose(ys, whole, rtol=1e-5, atol=1e-6)
    slots = {leaf.shape[-2] for leaf in jax.tree.leaves(state) if jnp.ndim(leaf) == 4}
    assert slots == {min(context, STEPS)}


@pytest.mark.parametrize(
    "cell", [GRU(8), Transformer(8, position="learned"), SelfAttention(8, position="sinusoidal")]
)
def test_what_stays_as_it_is(cell: Cell) -> None:
    """A recurrent cell has no cache, and codes of positions are as many as the context."""
    assert with_short_caches(cell, STEPS) == cell
