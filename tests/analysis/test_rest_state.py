"""The rest state of LSTM and GRU in closed form, against measured Jacobians and exponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import (
    critical_forget_bias,
    gru_rest_factor,
    lstm_mean_rest_exponent,
    lstm_rest_factor,
    lyapunov_spectrum,
    rest_exponent,
    step_jacobians,
)
from models import GRU, LSTM, Elman

H = 6


def rest_eigenvalues(cell, params) -> np.ndarray:
    jacobian = step_jacobians(cell, params, jnp.zeros((1, 1)))[0]
    return np.linalg.eigvals(np.asarray(jacobian, np.float64))


def demand_same_eigenvalues(found: np.ndarray, expected: np.ndarray) -> None:
    """Each expected one has one of its own among those found, and the rest of them are zero."""
    left = list(found)
    for value in expected:
        nearest = int(np.argmin(np.abs(np.array(left) - value)))
        assert abs(left.pop(nearest) - value) < 1e-5
    assert np.all(np.abs(left) < 1e-5)


@pytest.mark.parametrize(("forget", "inlet", "outlet"), [(0.0, 0.0, 0.0), (4.0, -1.5, 0.7)])
def test_an_lstm_at_rest_has_the_eigenvalues_of_forget_gate_and_loop(forget, inlet, outlet):
    cell = LSTM(H)
    params = cell.init(jax.random.key(0), 1)
    bias = jnp.repeat(jnp.array([inlet, forget, 0.0, outlet]), H)
    own = np.linalg.eigvals(np.asarray(params["recurrent"], np.float64)[:, 2 * H : 3 * H])
    factors = lstm_rest_factor(forget, own, input_bias=inlet, output_bias=outlet)
    demand_same_eigenvalues(rest_eigenvalues(cell, params | {"bias": bias}), factors)


@pytest.mark.parametrize("reset", ["after", "before"])
def test_a_gru_at_rest_has_the_eigenvalues_of_update_gate_and_candidate(reset):
    cell = GRU(H, reset=reset)
    params = cell.init(jax.random.key(0), 1)
    own = np.linalg.eigvals(np.asarray(params["recurrent"], np.float64)[:, 2 * H :])
    bias = jnp.repeat(jnp.array([-0.4, 0.9, 0.0]), H)
    factors = gru_rest_factor(0.9, own, reset_bias=-0.4)
    demand_same_eigenvalues(rest_eigenvalues(cell, params | {"bias": bias}), factors)
    assert gru_rest_factor() == 0.75
    assert gru_rest_factor(eigenvalue=0.0) == 0.5


@pytest.mark.parametrize(
    ("forget", "exponent"), [(0.0, -0.288), (1.0, -0.019), (np.log(3), 0.0), (4.0, 0.209)]
)
def test_the_measured_leading_exponent_passes_zero_at_ln_3(forget, exponent):
    cell = LSTM(H)
    params = cell.init(jax.random.key(0), 1)
    recurrent = params["recurrent"].at[:, 2 * H : 3 * H].set(jnp.eye(H))  # all eigenvalues +1
    bias = params["bias"].at[H : 2 * H].set(forget)
    found = lyapunov_spectrum(
        cell, params | {"recurrent": recurrent, "bias": bias}, jnp.zeros((200, 1)), k=2, warmup=20
    )
    assert found.exponents[0] == pytest.approx(np.log(lstm_rest_factor(forget)), abs=1e-4)
    assert found.exponents[0] == pytest.approx(exponent, abs=1e-3)


@pytest.mark.parametrize(("forget", "gain"), [(1.0, 1.0), (1.0, 4.0), (-2.0, 1.0)])
def test_the_mean_exponent_over_an_orthogonal_matrix_leaves_the_loop_out(forget, gain):
    circle = gain * np.exp(2j * np.pi * (np.arange(512) + 0.5) / 512)
    mean = np.mean(np.log(np.abs(lstm_rest_factor(forget, circle))))
    assert lstm_mean_rest_exponent(forget, gain) == pytest.approx(mean, abs=1e-3)


def test_fifty_steps_as_the_gradient_page_has_them():
    assert lstm_rest_factor(0.0) ** 50 == pytest.approx(5.7e-7, rel=0.01)
    assert lstm_rest_factor(1.0) ** 50 == pytest.approx(0.38, abs=0.005)
    longest = np.log(49.0)  # the largest of chrono's biases for 50 steps
    assert lstm_rest_factor(longest, input_bias=-longest) ** 50 == pytest.approx(0.61, abs=0.01)


def test_the_critical_bias_and_where_there_is_none():
    assert critical_forget_bias() == pytest.approx(np.log(3))
    assert lstm_rest_factor(critical_forget_bias(2.0, input_bias=0.3), 2.0, input_bias=0.3) == pytest.approx(
        1
    )
    with pytest.raises(ValueError, match="between 0 and 1"):
        critical_forget_bias(4.0)


@pytest.mark.parametrize("cell", [LSTM(H), LSTM(H, max_lag=20), GRU(H), GRU(H, reset="before", max_lag=20)])
def test_the_exponent_of_a_cell_at_rest_is_that_of_its_jacobian(cell):
    params = cell.init(jax.random.key(0), 1)
    if isinstance(cell, GRU):  # a reset gate that differs from unit to unit tells before from after
        params |= {"bias": params["bias"].at[:H].set(jnp.linspace(-1, 1, H))}
    measured = np.log(np.abs(rest_eigenvalues(cell, params)).max())
    assert rest_exponent(cell, params) == pytest.approx(measured, abs=1e-5)


def test_no_exponent_where_there_is_no_such_rest_state():
    with pytest.raises(ValueError, match="for LSTM and GRU, not for Elman"):
        rest_exponent(Elman(H), Elman(H).init(jax.random.key(0), 1))
    params = LSTM(H).init(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="candidate has a bias"):
        rest_exponent(LSTM(H), params | {"bias": jnp.ones(4 * H)})
