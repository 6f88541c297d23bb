"""A cell against a loop in NumPy, written from the paper's equations alone: outputs, final states and gradients.

The loop takes the parameters, the inputs `[T, D]` and the first state, and returns the outputs and the final state;
everything is in double precision, and one example without batch axes (the contract sees to those).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from models import Cell, unroll
from tests.models.loops import Arrays, central_differences

T, D = 4, 2
Leaves = list[Any]  # real or complex arrays: a state's leaves, in the order of the cell's own
Loop = Callable[[Arrays, np.ndarray, Leaves], tuple[np.ndarray, Leaves]]


initial = jax.jit(lambda cell, key, input_size: cell.init(key, input_size), static_argnums=(0, 2))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def random_params(cell: Cell, seed: int = 0, size: float = 0.5, input_size: int = D) -> Arrays:
    """Parameters of the cell's shapes and of N(0, size²), far from where they begin: no bias is zero."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))
    return {name: size * rng.normal(size=leaf.shape) for name, leaf in shapes.items()}


def weigh(leaves: list[Any], xp: Any) -> Any:
    """A scalar in which every number has its own weight; of a complex one, both parts."""
    total = 0.0
    for leaf in leaves:
        for part in (leaf.real, leaf.imag) if xp.iscomplexobj(leaf) else (leaf,):
            total = total + xp.sum(xp.asarray(np.sin(1.0 + np.arange(part.size))) * part.ravel())
    return total


def compare(
    cell: Cell,
    loop: Loop,
    start: Leaves,
    *,
    params: Arrays | None = None,
    scale: float = 1.0,
    final: Callable[[Any], list[Any]] = jax.tree.leaves,
    tolerance: float = 1e-12,
    slope_tolerance: float = 1e-7,
) -> None:
    """Outputs and final state, and their gradients in parameters, inputs (of size `scale`) and first state.

    `start` holds the first state's leaves; `final` says what of the cell's final state the loop returns.
    """
    params = random_params(cell) if params is None else params
    xs = scale * np.random.default_rng(1).normal(size=(T, D))
    # Complex leaves as two real arrays, in which a difference quotient can be taken.
    parts = [np.stack([v.real, v.imag]) if np.iscomplexobj(v) else np.array(v) for v in start]
    structure = jax.tree.structure(cell.initial_state(jax.tree.map(jnp.asarray, params)))
    kinds = [np.iscomplexobj(v) for v in start]

    def ours(params: Any, xs: Any, parts: list[Any]) -> list[Any]:
        leaves = [jax.lax.complex(*p) if kind else p for p, kind in zip(parts, kinds, strict=True)]
        state, ys = unroll(cell, params, xs, jax.tree.unflatten(structure, leaves))
        return [ys, *final(state)]

    def theirs() -> Leaves:
        assert params is not None
        leaves = [p[0] + 1j * p[1] if kind else p for p, kind in zip(parts, kinds, strict=True)]
        ys, state = loop(params, xs, leaves)
        return [ys, *state]

    def scalar(*given: Any) -> tuple[Any, list[Any]]:
        out = ours(*given)
        return weigh(out, jnp), out

    given = jax.tree.map(jnp.asarray, (params, xs, parts))
    gradients, out = jax.jit(jax.grad(scalar, argnums=(0, 1, 2), has_aux=True))(*given)
    expected = theirs()
    assert len(out) == len(expected)
    for found, wanted in zip(out, expected, strict=True):
        assert found.dtype == wanted.dtype
        assert_near(found, wanted, tolerance)

    names = sorted(params)
    slopes = central_differences(
        lambda: float(weigh(theirs(), np)), *(params[name] for name in names), xs, *parts
    )
    found = [*(gradients[0][name] for name in names), gradients[1], *gradients[2]]
    for name, a, b in zip([*names, "xs", *map(str, range(len(parts)))], found, slopes, strict=True):
        assert_near(a, b, slope_tolerance, f"the gradient in {name}")


def assert_near(found: Any, expected: Any, tolerance: float, message: str = "") -> None:
    """To `tolerance` of the largest entry, or of one where that is less."""
    size = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance * size, err_msg=message)


def by_associative_scan(cell: Any, params: Any, xs: Any, state: Any) -> tuple[Any, Any]:
    """A linear cell in parallel over time: final state and outputs."""
    weights = cell.prepare(params, batch_shape=xs.shape[1:-1])
    drive = cell.drive(weights, xs)
    a, b = cell.coefficients(weights, drive)
    b = b.at[0].add(a[0] * state)

    def combine(early: Any, late: Any) -> Any:
        return early[0] * late[0], late[0] * early[1] + late[1]

    _, states = jax.lax.associative_scan(combine, (a, b))
    return states[-1], cell.readout(weights, states, drive)
