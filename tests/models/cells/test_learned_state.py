"""A learned initial state, over cells of every form: product, linear, complex, with an integer in the state."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.contract import checks as contract
from models import GRU, LSTM, Cell, Elman, LinearCell, LSTMState, unroll
from models.cell import Array
from models.cells.batch_norm import BatchNormLSTM
from models.cells.learned_state import LearnedLinearState, LearnedState
from tests.contract import each_check
from tests.models import loops

pytestmark = pytest.mark.usefixtures("quick_compilation")
KEY = jax.random.key(3)


@dataclass(frozen=True)
class Turning(LinearCell):
    """z_t = a z_{t−1} + x_t summed, for a complex a;   y_t = (Re z_t, Im z_t)."""

    size: int = 3

    def init(self, key: Array, input_size: int) -> Any:
        return {"angle": jnp.linspace(0.1, 1.0, self.size)}

    def initial_state(self, params: Any, batch_shape: tuple[int, ...] = ()) -> Any:
        return (0.5 + 0.25j) * jnp.ones((*batch_shape, self.size))

    def coefficients(self, weights: Any, drive: Array) -> tuple[Any, Any]:
        x = jnp.sum(drive, axis=-1, keepdims=True)
        a = 0.9 * jnp.exp(1j * weights["angle"])
        full = (*drive.shape[:-1], self.size)
        return jnp.broadcast_to(a, full), jnp.broadcast_to(x, full).astype(a.dtype)

    def readout(self, weights: Any, state: Any, drive: Array) -> Array:
        return jnp.concatenate([state.real, state.imag], axis=-1)


CELLS: list[Cell] = [
    LearnedState(LSTM(3)),
    LearnedState(GRU(3, reset="before")),
    LearnedState(Turning()),
    LearnedLinearState(Turning()),
    LearnedState(BatchNormLSTM(3, max_steps=4)),
]


@each_check({"turning": LearnedState(Turning())})
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.parametrize("check", [contract.check_protocol, contract.check_checkpoint])
def test_contract_with_a_counter(check: Callable[[Cell], None]) -> None:
    """A leaf that isn't learned is no parameter."""
    contract.run(check, LearnedState(BatchNormLSTM(3, max_steps=4)))


@pytest.mark.usefixtures("x64")
def test_gradient_of_the_state() -> None:
    """Outputs and the gradient in the learned state by central differences of the NumPy LSTM begun from it."""
    cell = LearnedState(LSTM(3))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: cell.init(KEY, 2))
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), shapes)
    xs = rng.normal(size=(4, 3, 2))

    def loss(params: Any) -> Any:
        _, ys = unroll(cell, params, jnp.asarray(xs))
        return jnp.sum(ys * jnp.cos(jnp.arange(ys.size)).reshape(ys.shape)), ys

    gradient, ys = jax.jit(jax.grad(loss, has_aux=True))(params)
    p = {name: np.array(leaf) for name, leaf in params["cell"].items()}
    start = [np.array(leaf) for leaf in params["state"]]

    def theirs() -> np.ndarray:
        batch = tuple(np.broadcast_to(leaf, (3, 3)) for leaf in start)
        return loops.run(loops.lstm, p, xs, batch)[1]

    np.testing.assert_allclose(ys, theirs(), rtol=1e-12, atol=1e-12)
    weights = np.cos(np.arange(ys.size)).reshape(ys.shape)
    slopes = loops.central_differences(lambda: float(np.sum(theirs() * weights)), *start)
    assert isinstance(gradient["state"], LSTMState)
    for found, expected in zip(gradient["state"], slopes, strict=True):
        assert np.all(np.abs(expected) > 1e-3)
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_begins_as_the_cell_itself(cell: Any) -> None:
    params, xs = cell.init(KEY, 2), jax.random.normal(KEY, (5, 3, 2))
    run = jax.jit(unroll, static_argnums=0)
    own = run(cell.cell, params["cell"], xs)
    contract.assert_close(run(cell, params, xs), own, "not the cell itself", tolerance=1e-6)
    # A state that is given goes before the learned one.
    state = jax.tree.map(jnp.zeros_like, own[0])
    given = run(cell, params, xs, state)
    contract.assert_close(
        given, run(cell.cell, params["cell"], xs, state), "the given state is not used", 1e-6
    )


def test_what_is_learned_of_a_state() -> None:
    """Complex numbers as two real ones, each with a gradient; a counter not at all."""
    cell = LearnedState(Turning())
    params = cell.init(KEY, 2)
    np.testing.assert_array_equal(params["state"], np.array([[0.5] * 3, [0.25] * 3], np.float32))
    moved = params | {"state": params["state"].at[1].add(1.0)}
    np.testing.assert_array_equal(cell.initial_state(moved, (2,)), np.full((2, 3), 0.5 + 1.25j, np.complex64))
    gradient = jax.grad(lambda p: jnp.sum(unroll(cell, p, jnp.zeros((2, 3, 2)))[1] ** 2))(params)
    assert np.all(np.abs(gradient["state"]) > 0.1)
    normed = LearnedState(BatchNormLSTM(3))
    assert normed.init(KEY, 2)["state"].steps is None
    assert normed.couples_batch
    assert not cell.couples_batch


def test_goes_every_way_its_cell_goes() -> None:
    """By the fused scan where the cell is of the product form, all at once where it is linear."""
    xs = jax.random.normal(KEY, (6, 3, 2))
    for cell, method in ((LearnedState(Elman(3)), "fused"), (LearnedLinearState(Turning()), "associative")):
        params = cell.init(KEY, 2)
        run = jax.jit(partial(unroll, cell), static_argnames="method")
        contract.assert_close(
            run(params, xs, method=method), run(params, xs, method="scan"), f"{method} differs", 1e-5
        )
    for cell in (LearnedState(GRU(3, reset="before")), LearnedState(Turning())):
        assert not cell.has_product_form()
        with pytest.raises(ValueError, match="method 'fused' can't run"):
            unroll(cell, cell.init(KEY, 2), xs, method="fused")
    assert LearnedState(Elman(3)).additive
    assert not LearnedState(GRU(3)).additive
    with pytest.raises(ValueError, match="is not linear in its state: use LearnedState"):
        LearnedLinearState(Elman(3))
