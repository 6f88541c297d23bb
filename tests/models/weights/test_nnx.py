"""Cells of Flax NNX agree with ours of the same weights, in outputs, final states and gradients, both ways."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models import GRU, LSTM, Cell, Elman, LSTMState, from_nnx, to_nnx, unroll
from models.cell import Array
from tests.models import drawn

T, B, D, H = 4, 2, 3, 5
PAIRS: dict[str, tuple[Any, Cell, bool]] = {
    "SimpleCell": (nnx.SimpleCell, Elman(H), False),
    "GRUCell": (nnx.GRUCell, GRU(H), False),
    "LSTMCell": (nnx.LSTMCell, LSTM(H), False),
    "OptimizedLSTMCell": (nnx.OptimizedLSTMCell, LSTM(H), True),
}


@pytest.mark.parametrize(
    "name",
    [
        "GRUCell",
        "LSTMCell",
        *(pytest.param(n, marks=pytest.mark.full) for n in ("SimpleCell", "OptimizedLSTMCell")),
    ],
)
@pytest.mark.usefixtures("x64")
def test_agrees(name: str) -> None:
    kind, cell, optimized = PAIRS[name]
    double = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    module = kind(D, H, **double, rngs=nnx.Rngs(0))
    params = drawn.parameters(cell, D)
    if isinstance(cell, GRU):
        params["recurrent_bias"] = jnp.zeros(H)
    nnx.update(module, to_nnx(cell, params, optimized=optimized))  # ours, in theirs
    graph, theirs = nnx.split(module, nnx.Param)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    h, c = jax.random.normal(jax.random.key(2), (2, B, H))
    weights = jnp.cos(jnp.arange(T * B * H)).reshape(T, B, H)

    def by_nnx(state: Any, xs: Array) -> tuple[Array, Any]:
        def one(carry: Any, x: Array) -> tuple[Any, Array]:
            return nnx.merge(graph, state)(carry, x)

        carry, ys = jax.lax.scan(one, (c, h) if isinstance(cell, LSTM) else h, xs)
        return jnp.sum(weights * ys), (ys, carry)

    def by_ours(state: Any, xs: Array) -> tuple[Array, Any]:
        """The same function of the same arguments, NNX's state (c, h) too."""
        first: Any = LSTMState(h=h, c=c) if isinstance(cell, LSTM) else h
        final, ys = unroll(cell, from_nnx(cell, state), xs, first)
        carry = (final.c, final.h) if isinstance(cell, LSTM) else final
        return jnp.sum(weights * ys), (ys, carry)

    runs = (jax.jit(jax.grad(run, argnums=(0, 1), has_aux=True)) for run in (by_ours, by_nnx))
    (found, expected) = (run(theirs, xs) for run in runs)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    back = from_nnx(cell, module)
    assert back.keys() == params.keys()
    assert all(np.array_equal(back[key], params[key]) for key in params)


def test_residual_is_refused() -> None:
    module = nnx.SimpleCell(D, H, residual=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="residual=True has no counterpart"):
        from_nnx(Elman(H), module)
