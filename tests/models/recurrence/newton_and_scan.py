"""Newton's method beside scan: an example, both ways on it, and what must agree."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.contract.checks import weigh
from models import Cell
from models.cell import Array, BatchShape, Params, State
from models.recurrence.newton import Newton, newton
from models.recurrence.scan import scan

D, H = 2, 3


def example(cell: Cell, length: int, batch: BatchShape, seed: int = 0) -> tuple[Params, State, Array]:
    """Random parameters, biases too; a state that is not the initial one; inputs."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda key: cell.init(key, D), jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape), leaf.dtype), shapes)
    xs = jnp.asarray(rng.normal(size=(length, *batch, D)), params["kernel"].dtype)
    state = cell.initial_state(params, batch)
    noise = [
        rng.normal(size=leaf.shape) + 1j * rng.normal(size=leaf.shape) for leaf in jax.tree.leaves(state)
    ]
    fresh = iter(noise)

    def random(leaf: Array) -> Array:
        values = next(fresh)
        return jnp.asarray(values if jnp.iscomplexobj(leaf) else values.real, leaf.dtype)

    return params, jax.tree.map(random, state), xs


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("reverse", "batch_shape"))
def both(
    cell: Cell,
    options: Newton,
    params: Params,
    state: State,
    xs: Array,
    mask: Any,
    *,
    reverse: bool,
    batch_shape: Any,
) -> Any:
    """Newton's and scan's (results, gradients) in everything, and what Newton tells."""

    def run(way: str, params: Params, state: State, xs: Array) -> tuple[Array, Any]:
        drive = cell.drive(params, xs)
        if way == "scan":
            out, info = scan(cell, params, state, drive, mask=mask, reverse=reverse), None
        else:
            *out, info = newton(
                cell,
                params,
                state,
                drive,
                batch_shape=batch_shape,
                options=options,
                mask=mask,
                reverse=reverse,
            )
        return weigh(tuple(out)), (tuple(out), info)

    differentiate = jax.grad(run, argnums=(1, 2, 3), has_aux=True)
    found, (out, info) = differentiate("newton", params, state, xs)
    expected, (reference, _) = differentiate("scan", params, state, xs)
    return (out, found), (reference, expected), info


def compare(
    cell: Cell,
    options: Newton,
    length: int,
    batch: BatchShape,
    *,
    masked: bool = False,
    reverse: bool = False,
    tolerance: float = 1e-10,
) -> Any:
    params, state, xs = example(cell, length, batch)
    mask = jnp.asarray(np.random.default_rng(1).random((length, *batch)) < 0.7) if masked else None
    found, expected, info = both(cell, options, params, state, xs, mask, reverse=reverse, batch_shape=batch)
    assert_same(found, expected, tolerance)
    assert all(leaf.shape == batch for leaf in info.values())
    return info


def assert_same(found: Any, expected: Any, tolerance: float) -> None:
    """Equal structures, types and shapes; values to a tolerance relative to the largest of each leaf."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        a, b = np.asarray(a), np.asarray(b)
        assert np.isfinite(b).all()
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.max(np.abs(b), initial=0), 1e-3))


FULL, DIAGONAL = Newton(), Newton(200, jacobian="diagonal")
BOTH = pytest.mark.parametrize("options", [FULL, DIAGONAL], ids=["full", "diagonal"])
