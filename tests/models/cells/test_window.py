"""The fixed window: the contract, a feedforward net over joined inputs, and a memory that ends."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import step_jacobians
from experiments.contract import checks as contract
from models import Cell, FixedWindow, unroll
from tests.contract import each_check

T, B, D, H = 6, 2, 3, 4
CELLS: dict[str, Cell] = {
    "five": FixedWindow(3),
    "direct": FixedWindow(3, order=4, direct=True),
}


@pytest.mark.slow
@each_check(CELLS)
@pytest.mark.usefixtures("quick_compilation")
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.parametrize(("order", "direct"), [(3, False), (4, False), (4, True), (9, True)])
def test_feedforward_net_over_joined_inputs(order: int, direct: bool, x64: None) -> None:
    """tanh([x_t, …, x_{t−n+2}] W + b) of inputs joined by hand, zeros before the first."""
    cell = FixedWindow(H, order=order, direct=direct)
    params = cell.init(jax.random.key(0), D)
    params["bias"] = jnp.arange(H) / 10
    xs = np.random.default_rng(0).normal(size=(T, B, D))
    _, ys = unroll(cell, params, jnp.asarray(xs))
    blocks = np.asarray(params["kernel"]).reshape(D, order - 1, H)
    before = np.concatenate([np.zeros((order - 2, B, D)), xs])
    for t in range(T):
        window = [before[order - 2 + t - i] for i in range(order - 1)]
        hidden = np.tanh(sum(x @ blocks[:, i] for i, x in enumerate(window)) + np.arange(H) / 10)
        expected = np.concatenate([hidden, *window], axis=1) if direct else hidden
        np.testing.assert_allclose(ys[t], expected, rtol=1e-12, atol=1e-14)


def test_memory_ends_with_the_window(x64: None) -> None:
    """Products of n − 2 step Jacobians are zero, exactly: an input reaches n − 1 outputs, its own among them."""
    cell = FixedWindow(H, order=5, direct=True)
    params = cell.init(jax.random.key(0), D)
    jacobians = step_jacobians(cell, params, jax.random.normal(jax.random.key(1), (T, D)))
    product = jnp.eye(jacobians.shape[-1])
    for i, jacobian in enumerate(jacobians[:3]):
        assert jnp.any(product), i
        product = jacobian @ product
    assert not jnp.any(product)


def test_orders_that_there_are_not() -> None:
    with pytest.raises(ValueError, match="order must be a whole number of at least 3, but is 2"):
        FixedWindow(3, order=2)
