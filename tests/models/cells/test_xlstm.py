"""sLSTM and mLSTM against the paper's equations without a stabiliser, which must change nothing; and where those
overflow."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import unroll
from models.cells.xlstm import MLSTM, SLSTM, normalised
from tests.models.cells.agreement import Leaves, compare, initial, random_params, sigmoid
from tests.models.loops import Arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")

CELLS = [
    SLSTM(4, heads=2),
    SLSTM(3, forget="exponential"),
    MLSTM(4, heads=2),
    MLSTM(2, forget="exponential", forget_bias=(-1.0, -1.0)),
]


def phi(cell: Any, f: np.ndarray) -> np.ndarray:
    return sigmoid(f) if cell.forget == "sigmoid" else np.exp(f)


def slstm(cell: SLSTM, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    h, c, n, m = start
    c, n = c * np.exp(m), n * np.exp(m)
    width, ys = cell.hidden_size // cell.heads, []
    for x in xs:
        shown = h.copy()
        h, c, n = h.copy(), c.copy(), n.copy()
        for head in range(cell.heads):
            units = slice(head * width, (head + 1) * width)

            def gate(
                which: int, head: int = head, units: slice = units, x: Any = x, shown: Any = shown
            ) -> np.ndarray:
                columns = slice((4 * head + which) * width, (4 * head + which + 1) * width)
                inside = slice(which * width, (which + 1) * width)
                of_state = shown[units] @ p["recurrent"][head][:, inside]
                return x @ p["kernel"][:, columns] + of_state + p["bias"][columns]

            i, f = np.exp(gate(0)), phi(cell, gate(1))
            c[units] = f * c[units] + i * np.tanh(gate(2))
            n[units] = f * n[units] + i
            h[units] = sigmoid(gate(3)) * c[units] / n[units]
        ys.append(h)
    return np.stack(ys), [h, c, n]


def mlstm(
    cell: MLSTM, p: Arrays, xs: np.ndarray, start: Leaves, seen: set[bool] | None = None
) -> tuple[np.ndarray, Leaves]:
    """`seen` collects which of |n·q| and 1 was the larger."""
    memory, n, m = start
    memory, n = memory * np.exp(m)[:, None, None], n * np.exp(m)[:, None]
    d, ys = cell.hidden_size // cell.heads, []
    for x in xs:
        memory, n = memory.copy(), n.copy()
        q, k, v, o = np.split(x @ p["kernel"] + p["bias"], 4)
        i, f = np.split(x @ p["gate_kernel"] + p["gate_bias"], 2)
        y = np.zeros(cell.hidden_size)
        for head in range(cell.heads):
            units = slice(head * d, (head + 1) * d)
            key = k[units] / np.sqrt(d)
            memory[head] = phi(cell, f[head]) * memory[head] + np.exp(i[head]) * np.outer(v[units], key)
            n[head] = phi(cell, f[head]) * n[head] + np.exp(i[head]) * key
            dot = abs(n[head] @ q[units])
            y[units] = sigmoid(o[units]) * (memory[head] @ q[units]) / max(dot, 1.0)
            if seen is not None:
                seen.add(bool(dot > 1))
        ys.append(y)
    return np.stack(ys), [memory, n]


def unstabilised(state: Any) -> list[Any]:
    """Memory and normaliser as the equations have them."""
    if len(state) == 4:
        return [state.h, state.c * jnp.exp(state.m), state.n * jnp.exp(state.m)]
    factor = jnp.exp(state.m)[..., None]
    return [state.C * factor[..., None], state.n * factor]


@pytest.mark.parametrize("cell", CELLS, ids=lambda v: getattr(v, "__name__", str(v)))
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_equations(cell) -> None:
    """From a state with something in it, m included."""
    rng = np.random.default_rng(4)
    if isinstance(cell, SLSTM):
        h, c, n, m = rng.normal(size=(4, cell.hidden_size))
        compare(cell, partial(slstm, cell), [h, c, 1 + np.abs(n), m], final=unstabilised)
    else:
        d, seen = cell.hidden_size // cell.heads, set()
        start = [rng.normal(size=(cell.heads, *shape)) for shape in ((d, d), (d,), ())]
        params = random_params(cell, size=1.0)
        compare(cell, partial(mlstm, cell, seen=seen), start, params=params, final=unstabilised)
        assert seen == {True, False}


@partial(jax.jit, static_argnums=0)
def run(cell: Any, params: Any, xs: Any) -> tuple[Any, Any]:
    """Gradients in parameters and inputs, and (outputs, final state), from the initial state."""

    def scalar(params: Any, xs: Any) -> Any:
        state, ys = unroll(cell, params, xs)
        return jnp.sum(jnp.sin(1.0 + jnp.arange(ys.size)) * ys.ravel()), (ys, state)

    return jax.grad(scalar, argnums=(0, 1), has_aux=True)(params, xs)


@pytest.mark.parametrize("cell", CELLS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_finite_where_the_equations_overflow(cell: Any) -> None:
    """Input gates of some hundreds, up and down, from the initial state: beyond e^88 in single precision, within
    the e^709 of the loop in double."""
    xs = np.random.default_rng(0).normal(size=(12, 2))
    for shift in (-250.0, 250.0):
        params = random_params(cell)
        if isinstance(cell, SLSTM):
            params["bias"].reshape(cell.heads, 4, -1)[:, 0] += shift
        else:
            params["gate_bias"][: cell.heads] += shift
        gradient, (ys, state) = run(cell, *jax.tree.map(jnp.float32, (params, xs)))
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((gradient, ys, state)))
        assert float(jnp.abs(jax.tree.leaves(state)[-1]).max()) > 200  # m: the exponents are there
        zeros = [np.zeros(leaf.shape) for leaf in jax.tree.leaves(state)]
        loop: Any = slstm if isinstance(cell, SLSTM) else mlstm
        expected, _ = loop(cell, params, xs, zeros)
        # What is read divided by a dot product that almost vanishes has lost digits: of the largest, then.
        np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-4 * np.abs(expected).max() + 1e-30)


@pytest.mark.parametrize("heads", [1, 2])
def test_the_normaliser_of_slstm_is_at_least_one(heads: int) -> None:
    """So nothing is ever divided by a small number, and h is bounded by 1."""
    cell = SLSTM(4, heads)
    params = jax.tree.map(jnp.float32, random_params(cell, size=2.0))
    _, (ys, state) = run(cell, params, 30 * jax.random.normal(jax.random.key(0), (50, 2)))
    assert float(state.n.min()) >= 1
    assert 0.1 < float(jnp.abs(ys).max()) <= 1


def test_normalised() -> None:
    """Both branches, and both ends, in single precision: values and gradients."""
    dot = jnp.array([[3.0, -3.0, 0.1, 0.1, 0.0, 0.0, 1e-30]])
    m = jnp.array([[0.0, 0.0, 0.0, -200.0, 80.0, 200.0, -1e38]])
    read = jnp.ones((1, 7, 2)) * jnp.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0])[None, :, None]
    expected = [1 / 3, 1 / 3, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(normalised(read, dot, m)[0, :, 0], expected, rtol=1e-6)
    slopes = jax.jit(jax.grad(lambda *given: jnp.sum(normalised(*given)), argnums=(0, 1, 2)))(read, dot, m)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in slopes)
    np.testing.assert_allclose(slopes[1][0, :3], [-2 / 9, 2 / 9, 0], rtol=1e-6)  # Σ over the two numbers read
    np.testing.assert_allclose(slopes[2][0, :4], [0, 0, 2, 0], rtol=1e-6)


def test_biases_and_blocks_begin_as_described() -> None:
    params = initial(SLSTM(4, heads=2, forget_bias=2.0), jax.random.key(0), 3)
    np.testing.assert_array_equal(params["bias"], [0, 0, 2, 2, 0, 0, 0, 0] * 2)
    for block in np.asarray(params["recurrent"]).reshape(2, 2, 4, 2).swapaxes(1, 2).reshape(8, 2, 2):
        np.testing.assert_allclose(block.T @ block, np.eye(2), atol=1e-6)
    params = initial(MLSTM(6, heads=3), jax.random.key(0), 2)
    np.testing.assert_allclose(params["gate_bias"], [0, 0, 0, 3, 4.5, 6], rtol=1e-6)


@pytest.mark.parametrize("kind", [SLSTM, MLSTM])
def test_refuses_heads_that_do_not_divide(kind) -> None:
    with pytest.raises(ValueError, match="3 heads don't divide a hidden_size of 4"):
        kind(4, heads=3)
