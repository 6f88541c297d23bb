"""Equinox's cells agree with ours of the same weights, both ways, in outputs, states and gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, Cell, LSTMState, from_equinox, to_equinox, unroll
from tests.models import drawn

eqx: Any = pytest.importorskip("equinox", reason="needs Equinox: make test-peers")
pytestmark = pytest.mark.peers
T, D, H = 6, 4, 5


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("cell", [GRU(H), LSTM(H)], ids=["GRU", "LSTM"])
@pytest.mark.usefixtures("x64")
def test_agrees(cell: Cell, bias: bool) -> None:
    kind = eqx.nn.GRUCell if isinstance(cell, GRU) else eqx.nn.LSTMCell
    params = drawn.parameters(cell, D)
    if not bias:
        params |= {key: jnp.zeros_like(leaf) for key, leaf in params.items() if "bias" in key}
    arrays = to_equinox(cell, params, bias=bias)
    module = kind(D, H, use_bias=bias, key=jax.random.key(0))
    module = eqx.tree_at(lambda m: [getattr(m, name) for name in arrays], module, list(arrays.values()))
    xs = jax.random.normal(jax.random.key(1), (T, D))
    h, c = jax.random.normal(jax.random.key(2), (2, H))
    first: Any = LSTMState(h, c) if isinstance(cell, LSTM) else h
    weights = jnp.cos(jnp.arange(T * H)).reshape(T, H)

    def by_equinox(module: Any) -> Any:
        def one(carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
            carry = module(x, carry)
            return carry, carry[0] if isinstance(cell, LSTM) else carry

        carry, ys = jax.lax.scan(one, tuple(first) if isinstance(cell, LSTM) else first, xs)
        return jnp.sum(weights * ys), (ys, carry)

    def by_ours(module: Any) -> Any:
        final, ys = unroll(cell, from_equinox(cell, module), xs, first)
        return jnp.sum(weights * ys), (ys, final)

    runs = (jax.jit(jax.grad(run, has_aux=True)) for run in (by_ours, by_equinox))
    found, expected = (run(module) for run in runs)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    back = from_equinox(cell, module)
    assert back.keys() == params.keys()
    assert all(np.array_equal(back[key], params[key]) for key in params)
