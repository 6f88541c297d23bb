"""The same numbers in every floating type, to the precision that it has: against the float64 loops in NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Cell, unroll
from models.cell import Array
from tests.models import loops
from tests.models.recurrence.test_unroll import CELLS, Example, example, ours

# What a value and a gradient of about 1 may be off after a few steps: some roundings to a mantissa of so many bits.
TOLERANCES = {"bfloat16": 4e-2, "float32": 2e-6, "float64": 1e-13}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCES)
@given(
    length=st.integers(1, 6),
    batch=st.sampled_from([(), (3,), (1, 2)]),
    name=st.sampled_from(["elman", "basic_gru", "gru-after", "lstm"]),
    method=st.sampled_from(["scan", "fused"]),
    masked=st.booleans(),
    reverse=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=5)  # each is compiled anew
def test_dtypes(
    dtype: str,
    length: int,
    batch: tuple[int, ...],
    name: str,
    method: str,
    masked: bool,
    reverse: bool,
    seed: int,
) -> None:
    """Outputs, final state and the gradient along a random direction; all of the type that was given."""
    cell, step = CELLS[name]
    mask = np.random.default_rng(seed).random((length, *batch)) < 0.6 if masked else None
    with jax.enable_x64(dtype == "float64"):
        rounded = jax.tree.map(lambda leaf: jnp.asarray(leaf / 2, dtype), example(cell, length, batch, seed))
        exactly = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), rounded)
        (final, ys), gradient = values_and_gradient(cell, rounded, mask, reverse=reverse, method=method)
    assert {leaf.dtype for leaf in jax.tree.leaves((final, ys, gradient))} == {jnp.dtype(dtype)}

    tolerance = TOLERANCES[dtype]
    expected = loops.run(step, *exactly, mask=mask, reverse=reverse)
    for a, b in zip(jax.tree.leaves((final, ys)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float64), b, rtol=0, atol=tolerance)

    direction = [np.cos(np.arange(leaf.size)).reshape(leaf.shape) for leaf in jax.tree.leaves(exactly)]

    def along(change: float) -> float:
        moved = [leaf + change * way for leaf, way in zip(jax.tree.leaves(exactly), direction, strict=True)]
        p, xs, state = jax.tree.unflatten(jax.tree.structure(exactly), moved)
        return float(loops.run(step, p, xs, state, mask, reverse)[1].sum())

    found = [
        np.asarray(leaf, np.float64) * way
        for leaf, way in zip(jax.tree.leaves(gradient), direction, strict=True)
    ]
    # Rounding grows with the size of what is added up, not with that of the sum.
    scale = 1.0 + sum(np.abs(part).sum() for part in found)
    by_difference = (along(1e-5) - along(-1e-5)) / 2e-5
    assert abs(sum(part.sum() for part in found) - by_difference) <= max(tolerance, 1e-9) * scale


def values_and_gradient(
    cell: Cell, rounded: Example, mask: Any, *, reverse: bool, method: Any
) -> tuple[Any, Any]:
    """Returns what `unroll` gives, and the gradient of the sum of its outputs in everything."""

    def loss(p: Any, xs: Array, state: Any) -> tuple[Array, Any]:
        final, ys = unroll(cell, p, xs, state, mask=mask, reverse=reverse, method=method)
        return jnp.sum(ys), (final, ys)

    mask = None if mask is None else jnp.asarray(mask)
    p, xs, state = ours(cell, rounded)
    gradient, values = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(p, xs, state)
    return values, gradient
