"""The theory against SciPy's integrals, published values, and simulation by NumPy and by the cells
themselves."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import root_scalar

from analysis import (
    edge_of_chaos,
    elman_deviations,
    gradient_by_lag,
    log_slope,
    tanh_mean_field,
    tanh_mean_field_path,
)
from analysis.mean_field import gaussian_mean, slope_squared, tanh_squared
from models import GRU, Cell, Elman, Gaussian, Glorot, Orthogonal
from models.cell import Array


def integral(function: Any, q: float) -> float:
    """E[f(√q z)] for an even f, by SciPy's adaptive quadrature."""
    breaks = [k / np.sqrt(q + 1) for k in (1, 2, 4, 8)]
    half, _ = quad(
        lambda z: function(np.sqrt(q) * z) * np.exp(-z * z / 2),
        0,
        9,
        points=breaks,
        limit=500,
        epsabs=1e-15,
        epsrel=1e-13,
    )
    return 2 * half / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("q", [0.0, 1e-6, 0.3, 2.0, 400.0, 1e5])
def test_integrals(q: float) -> None:
    for ours, theirs in (
        (tanh_squared, lambda x: np.tanh(x) ** 2),
        (slope_squared, lambda x: np.cosh(np.clip(x, -99, 99)) ** -4.0),
    ):
        np.testing.assert_allclose(gaussian_mean(ours, q), integral(theirs, q), rtol=1e-12, atol=1e-16)


def test_integrals_of_many_variances_at_once() -> None:
    q = np.array([[0.0, 0.5], [30.0, 7.0]])
    expected = np.vectorize(lambda q: integral(lambda x: np.tanh(x) ** 2, q))(q)
    np.testing.assert_allclose(gaussian_mean(tanh_squared, q), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("gain", "noise", "exponent"), [(1.0, 1.0, -0.4595), (1.5, 1.0, -0.1418), (3.0, 0.0, 0.3102)]
)
def test_published_exponents(gain: float, noise: float, exponent: float) -> None:
    """Those of the table that the Lyapunov spectrum is held to; and by another way, SciPy from end to end."""
    theory = tanh_mean_field(gain, noise)
    np.testing.assert_allclose(theory.exponent, exponent, atol=5e-5)

    def excess(q: float) -> float:
        return q - gain**2 * integral(lambda x: np.tanh(x) ** 2, q) - noise**2

    q = float(root_scalar(excess, bracket=(1e-3, 20), method="brentq", xtol=1e-12).root)
    np.testing.assert_allclose(theory.q, q, rtol=1e-10)
    chi = gain**2 * integral(lambda x: np.cosh(np.clip(x, -99, 99)) ** -4.0, q)
    np.testing.assert_allclose(theory.chi, chi, rtol=1e-10)


def test_at_rest() -> None:
    """Without a drive a net of gain g ≤ 1 comes to rest, where the Jacobian is J itself: χ = g². Just above,
    the first term of the expansion: g² (q − 2q²) = q gives q ≈ (g² − 1)/2."""
    theory = tanh_mean_field([0.0, 0.5, 1.0], 0.0)
    np.testing.assert_array_equal(theory.q, [0, 0, 0])
    np.testing.assert_allclose(theory.chi, [0, 0.25, 1], rtol=1e-14)
    np.testing.assert_allclose(theory.exponent, [-np.inf, np.log(0.5), 0], atol=1e-14)
    np.testing.assert_allclose(tanh_mean_field(1.0001, 0.0).q, (1.0001**2 - 1) / 2, rtol=1e-3)


def test_edge_of_chaos() -> None:
    """At 1 without a bias; elsewhere where the exponent, found without it, changes its sign."""
    assert edge_of_chaos(0.0) == 1.0
    noise = np.array([[1e-3, 0.1], [0.5, 3.0]])
    gain = edge_of_chaos(noise)
    np.testing.assert_allclose(tanh_mean_field(gain, noise).chi, 1, rtol=1e-9)
    assert np.all(tanh_mean_field(1.001 * gain, noise).exponent > 0)
    assert np.all(tanh_mean_field(0.999 * gain, noise).exponent < 0)


@pytest.mark.parametrize("size", [600])
def test_numpy_simulation(size: int) -> None:
    """x' = J tanh(x) + σξ: variance over time and units, growth of a small difference, σ_w = 1.3, σ = 0.4."""
    gain, noise, steps, warm_up = 1.3, 0.4, 1200, 100
    random = np.random.default_rng(3)
    matrix = random.normal(size=(size, size)) * gain / np.sqrt(size)
    x, v, growth, variance = random.normal(size=size), random.normal(size=size), 0.0, 0.0
    for t in range(steps):
        v = matrix @ (v / np.cosh(x) ** 2)
        x = matrix @ np.tanh(x) + noise * random.normal(size=size)
        norm = np.linalg.norm(v)
        v /= norm
        if t >= warm_up:
            growth += np.log(norm) / (steps - warm_up)
            variance += np.mean(x**2) / (steps - warm_up)
    theory = tanh_mean_field(gain, noise)
    np.testing.assert_allclose(variance, theory.q, rtol=0.02)
    np.testing.assert_allclose(growth, theory.exponent, atol=0.006)


@dataclass(frozen=True)
class Noisy(Cell):
    """x' = J tanh(x) + σ u: a cell of a user's own, whose state is what is squashed. The drive is the noise."""

    hidden_size: int
    gain: float

    def init(self, key: Array, input_size: int) -> Any:
        return {"recurrent": Gaussian(self.gain)(key, (self.hidden_size, self.hidden_size))}

    def initial_state(self, params: Any, batch_shape: tuple[int, ...] = ()) -> Array:
        return jnp.zeros((*batch_shape, self.hidden_size))

    def step(self, weights: Any, state: Array, drive: Array) -> tuple[Array, Array]:
        state = jnp.tanh(state) @ weights["recurrent"] + drive
        return state, state


def test_slope_of_the_gradient() -> None:
    """N = 256, B = 64, g = 1.5, σ = 1: the gradient falls by ½ ln χ = −0.1418 a step, within 5 %."""
    size, batch, length = 256, 64, 120
    cell = Noisy(size, 1.5)

    @jax.jit
    def norms(key: Array) -> Array:
        of_weights, of_noise, of_readout = jax.random.split(key, 3)
        xs = jax.random.normal(of_noise, (length, batch, size))
        readout = jax.random.normal(of_readout, (batch, size))
        params = cell.init(of_weights, size)
        return gradient_by_lag(cell, params, xs, lambda final, ys: jnp.sum(readout * final))

    found = norms(jax.random.key(0))
    slope = log_slope(np.median(found, axis=1)[:100])  # the oldest steps come out of a state at rest
    np.testing.assert_allclose(slope, tanh_mean_field(1.5, 1.0).exponent, rtol=0.05)


def test_elman_from_its_parameters() -> None:
    """σ_w, σ of the drive, and with them the gradient of a net that starts at rest and is driven ever harder,
    step by step: ½ Σ ln χ_t within 10 % at every lag."""
    size, batch, inputs = 512, 32, 64
    cell = Elman(size, recurrent_init=Gaussian(1.4), kernel_init=Gaussian(1.0))
    params = cell.init(jax.random.key(1), inputs)
    size_of_inputs = np.linspace(0.2, 1.5, 30)
    xs = jax.random.normal(jax.random.key(2), (30, batch, inputs)) * size_of_inputs.reshape(-1, 1, 1)
    gain, noise = elman_deviations(cell, params, xs)
    np.testing.assert_allclose(gain, 1.4, rtol=0.01)
    np.testing.assert_allclose(noise, size_of_inputs, rtol=0.1)

    theory = tanh_mean_field_path(gain, noise)
    readout = jax.random.normal(jax.random.key(3), (batch, size))
    found = gradient_by_lag(cell, params, xs, lambda final, ys: jnp.sum(readout * final))
    relative = np.asarray(found) / np.linalg.norm(readout, axis=-1)
    logs = np.log(np.sqrt(np.mean(relative**2, axis=1)))
    np.testing.assert_allclose(logs, np.cumsum(theory.exponent[::-1]), atol=0.1)


def test_path_comes_to_the_fixed_point() -> None:
    theory, path = tanh_mean_field(0.8, 0.7), tanh_mean_field_path(0.8, np.full(60, 0.7))
    np.testing.assert_allclose(path.q[0], 0.49, rtol=1e-12)
    np.testing.assert_allclose([path.q[-1], path.chi[-1]], [theory.q, theory.chi], rtol=1e-9)


@pytest.mark.parametrize(
    ("initializer", "gain"), [(Gaussian(0.7), 0.7), (Orthogonal(1.3), 1.3), (Glorot(), 1.0)], ids=str
)
def test_gain_of_an_initialiser(initializer: Any, gain: float) -> None:
    cell = Elman(300, recurrent_init=initializer)
    params = cell.init(jax.random.key(0), 2)
    found, noise = elman_deviations(cell, params | {"bias": jnp.full(300, 0.25)}, jnp.zeros((3, 2)))
    np.testing.assert_allclose(found, gain, rtol=0.01)
    np.testing.assert_allclose(noise, 0.25, rtol=1e-6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least 0 and finite"):
        tanh_mean_field([1.0, -0.1], 0.0)
    with pytest.raises(ValueError, match="at least 0 and finite"):
        edge_of_chaos(np.nan)
    for cell in (GRU(3), Elman(3, activation="relu")):
        with pytest.raises(ValueError, match="Elman cell with tanh"):
            elman_deviations(cell, cell.init(jax.random.key(0), 2), jnp.zeros((3, 2)))
