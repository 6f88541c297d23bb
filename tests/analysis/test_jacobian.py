"""Step Jacobians against closed forms in NumPy, forward mode, and what cannot fit."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import jacobian as jacobian_module
from analysis import (
    spectral_radius,
    step_jacobians,
)
from analysis.closed_form import has_closed_form
from experiments.contract import checks as contract
from models import (
    GRU,
    LSTM,
    SLSTM,
    BasicGRU,
    Cell,
    Elman,
    IndRNN,
    LearnedState,
    LSTMState,
    OrthogonalRNN,
    PeepholeLSTM,
    unroll,
)
from models.cell import Array
from models.recurrence import free_memory
from models.state import ravel_state
from tests.models import loops

T, D, H = 5, 2, 3
sigmoid = loops.sigmoid


def example(cell: Cell, batch: tuple[int, ...] = ()) -> tuple[loops.Arrays, np.ndarray, loops.State]:
    """Random parameters, inputs and states."""
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda key: cell.init(key, D), jax.random.key(0))
    p = {name: rng.normal(size=leaf.shape) for name, leaf in shapes.items()}
    return p, rng.normal(size=(T, *batch, D)), tuple(rng.normal(size=(*batch, H)) for _ in range(2))


def elman_jacobians(p: loops.Arrays, xs: np.ndarray, h: np.ndarray) -> np.ndarray:
    """∂h_i/∂h'_j = (1 − h_i²) R_ji: the transpose of R, for states are rows."""
    found = []
    for x in xs:
        h = np.tanh(x @ p["kernel"] + h @ p["recurrent"] + p["bias"])
        found.append(np.array([[(1 - h[i] ** 2) * p["recurrent"][j, i] for j in range(H)] for i in range(H)]))
    return np.array(found)


def lstm_jacobians(p: loops.Arrays, xs: np.ndarray, h: np.ndarray, c: np.ndarray) -> np.ndarray:
    """[[∂h/∂h', ∂h/∂c'], [∂c/∂h', ∂c/∂c']]."""
    found = []
    for x in xs:
        i, f, o = (sigmoid(loops.gate(p, k, h, x)) for k in (0, 1, 3))
        g = np.tanh(loops.gate(p, 2, h, x))
        in_i, in_f, in_g, in_o = (p["recurrent"][:, k * H : (k + 1) * H].T for k in range(4))
        c_h = (
            np.diag(g * i * (1 - i)) @ in_i + np.diag(c * f * (1 - f)) @ in_f + np.diag(i * (1 - g**2)) @ in_g
        )
        c_c = np.diag(f)
        c = f * c + i * g
        through = np.diag(o * (1 - np.tanh(c) ** 2))
        h_h = through @ c_h + np.diag(np.tanh(c) * o * (1 - o)) @ in_o
        found.append(np.block([[h_h, through @ c_c], [c_h, c_c]]))
        h = o * np.tanh(c)
    return np.array(found)


@pytest.mark.usefixtures("x64")
def test_elman_closed_form() -> None:
    p, xs, (h, _) = example(Elman(H))
    found = step_jacobians(Elman(H), jax.tree.map(jnp.asarray, p), jnp.asarray(xs), jnp.asarray(h))
    np.testing.assert_allclose(found, elman_jacobians(p, xs, h), rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_lstm_closed_form() -> None:
    p, xs, (h, c) = example(LSTM(H))
    state = LSTMState(jnp.asarray(h), jnp.asarray(c))
    found = step_jacobians(LSTM(H), jax.tree.map(jnp.asarray, p), jnp.asarray(xs), state)
    np.testing.assert_allclose(found, lstm_jacobians(p, xs, h, c), rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_many_sequences_as_the_docstring_says() -> None:
    """`jax.vmap(partial(step_jacobians, cell, params), in_axes=1)(xs)`: [B, T, S, S], from the initial state."""
    p, xs, _ = example(LSTM(H), batch=(4,))
    params = jax.tree.map(jnp.asarray, p)
    found = jax.vmap(partial(step_jacobians, LSTM(H), params), in_axes=1)(jnp.asarray(xs))
    zero = np.zeros(H)
    expected = np.array([lstm_jacobians(p, xs[:, b], zero, zero) for b in range(4)])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "cell",
    [Elman(H, activation="sigmoid"), BasicGRU(H), GRU(H), GRU(H, reset="before"), LSTM(H)],
    ids=lambda cell: type(cell).__name__,
)
@pytest.mark.usefixtures("x64")
def test_their_product_is_the_jacobian_of_the_whole(cell: Cell) -> None:
    """J_T … J_1 = ∂s_T/∂s_0, by forward differentiation through `unroll`."""
    p, xs, (h, c) = example(cell)
    state = LSTMState(jnp.asarray(h), jnp.asarray(c)) if isinstance(cell, LSTM) else jnp.asarray(h)

    @jax.jit
    def whole(p: Any, xs: Array, state: Any) -> Array:
        vector, restore = ravel_state(state)

        def final(vector: Array) -> Array:
            # By the scan, for a fused way back has no forward derivative.
            return ravel_state(unroll(cell, p, xs, restore(vector), method="scan")[0])[0]

        return jax.jacfwd(final)(vector)

    params = jax.tree.map(jnp.asarray, p)
    product = np.linalg.multi_dot(np.asarray(step_jacobians(cell, params, jnp.asarray(xs), state))[::-1])
    np.testing.assert_allclose(product, whole(params, jnp.asarray(xs), state), rtol=1e-10, atol=1e-12)


@dataclass(frozen=True)
class Rotor(Cell):
    """z_t = (a + ib) z_{t−1} + x_t; beside it a counter of the steps and a flag."""

    a: float
    b: float

    def init(self, key: Array, input_size: int) -> Any:
        return {}

    def initial_state(self, params: Any, batch_shape: tuple[int, ...] = ()) -> Any:
        flag = jnp.zeros(batch_shape, bool)
        return {
            "count": jnp.zeros(batch_shape, int),
            "flag": flag,
            "z": jnp.zeros((*batch_shape, D), complex),
        }

    def step(self, weights: Any, state: Any, drive: Array) -> tuple[Any, Array]:
        z = (self.a + 1j * self.b) * state["z"] + drive
        return {"count": state["count"] + 1, "flag": ~state["flag"], "z": z}, z.real


@pytest.mark.usefixtures("x64")
def test_complex_leaves_count_twice_and_integers_not_at_all() -> None:
    """Multiplication by a + ib is [[a, −b], [b, a]] on (real parts, imaginary parts)."""
    a, b = 0.3, 0.7
    found = step_jacobians(Rotor(a, b), {}, jnp.ones((T, D)))
    one = np.eye(D)
    expected = np.block([[a * one, -b * one], [b * one, a * one]])
    np.testing.assert_allclose(found, np.broadcast_to(expected, (T, 2 * D, 2 * D)), rtol=1e-14)
    np.testing.assert_allclose(spectral_radius(found), np.full(T, abs(a + 1j * b)), rtol=1e-14)


@dataclass(frozen=True)
class Halved(Elman):
    """Uses half of its recurrent matrix."""

    def prepare(self, params: Any, *, key: Any = None, train: bool = False, batch_shape: Any = ()) -> Any:
        return params | {"recurrent": params["recurrent"] / 2}


@pytest.mark.usefixtures("x64")
def test_the_prepared_weights_are_what_counts() -> None:
    p, xs, (h, _) = example(Elman(H))
    found = step_jacobians(Halved(H), jax.tree.map(jnp.asarray, p), jnp.asarray(xs), jnp.asarray(h))
    expected = elman_jacobians(p | {"recurrent": p["recurrent"] / 2}, xs, h)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


# --- the closed form


@pytest.mark.parametrize(
    "cell",
    [
        Elman(4, activation="relu"),
        LSTM(4),
        SLSTM(6, heads=2),
        *(
            pytest.param(cell, marks=pytest.mark.full)
            for cell in (
                BasicGRU(4),
                GRU(4),
                PeepholeLSTM(4),
                OrthogonalRNN(4),
                IndRNN(4),
                LearnedState(LSTM(4)),
            )
        ),
    ],
    ids=lambda cell: type(cell).__name__,
)
@pytest.mark.usefixtures("x64")
def test_closed_form_is_taken_and_is_forward_mode(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    params, xs, state = contract.example(cell, ())
    expected = step_jacobians(cell, params, xs, state, method="forward")
    called = []
    form = jacobian_module.closed_form
    monkeypatch.setattr(jacobian_module, "closed_form", lambda *given: called.append(1) or form(*given))
    found = step_jacobians(cell, params, xs, state)
    assert called
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@dataclass(frozen=True)
class Mixing(Elman):
    """Mixes its units, but forgot to say that it isn't elementwise."""

    def pointwise(self, weights: Any, state: Array, drive: Array, r: Array) -> tuple[Array, Array]:
        h = jnp.tanh(drive + r + jnp.roll(state, 1, axis=-1))
        return h, h


@pytest.mark.usefixtures("x64")
def test_a_cell_that_is_not_what_it_says() -> None:
    cell = Mixing(H)
    params, xs, state = contract.example(cell, ())
    assert not has_closed_form(cell, params, state, cell.drive(params, xs[0]))
    found = step_jacobians(cell, params, xs, state)
    np.testing.assert_array_equal(found, step_jacobians(cell, params, xs, state, method="forward"))


def test_what_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice 5 · 6² numbers of 4 bytes are 1,440 bytes."""
    p = LSTM(H).init(jax.random.key(0), D)
    monkeypatch.setattr(free_memory, "available_memory", lambda: 1440)
    assert step_jacobians(LSTM(H), p, jnp.zeros((T, D))).shape == (T, 6, 6)
    monkeypatch.setattr(free_memory, "available_memory", lambda: 1439)
    with pytest.raises(
        ValueError, match=r"the Jacobians \[T, S, S\] = \[5, 6, 6\] .*leading_singular_values"
    ):
        step_jacobians(LSTM(H), p, jnp.zeros((T, D)))


def test_available_memory() -> None:
    """Some, and not more than there is."""
    free = free_memory.available_memory()
    assert free is None or 2**20 < free < 2**50
