"""The two lengths and the mean exponent of mean-field theory, against other quadratures and simulated nets."""

import numpy as np
import pytest

from analysis import depth_scales, edge_of_chaos, tanh_mean_exponent, tanh_mean_field

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def correlation_after(gain: float, bias: float, c: float) -> float:
    """c' by Gauss–Hermite quadrature over two independent variables."""
    q = float(tanh_mean_field(gain, bias).q)
    first = np.sqrt(q) * NODES[:, None]
    second = np.sqrt(q) * (c * NODES[:, None] + np.sqrt(1 - c * c) * NODES[None])
    mean = WEIGHTS @ (np.tanh(first) * np.tanh(second)) @ WEIGHTS
    return float((gain**2 * mean + bias**2) / q)


@pytest.mark.parametrize("gain", [0.3, 0.9])
def test_lengths_of_a_net_at_rest(gain: float) -> None:
    """Without biases a net of gain below one is linear at rest: χ = σ_w²."""
    scales = depth_scales(gain, 0.0)
    np.testing.assert_allclose([scales.signal, scales.gradient], -1 / (2 * np.log(gain)), rtol=1e-12)
    assert scales.correlation == 1


@pytest.mark.parametrize(("gain", "bias"), [(1.5, 0.1), (2.0, 0.3), (2.5, 0.6)])
def test_fixed_point_in_chaos_and_its_slope(gain: float, bias: float) -> None:
    """c' = c at c*, and dc'/dc = χ_c* there by finite differences."""
    scales = depth_scales(gain, bias)
    c, step = float(scales.correlation), 1e-4
    assert 0 < c < 1
    assert correlation_after(gain, bias, c) == pytest.approx(c, abs=1e-5)
    slope = (correlation_after(gain, bias, c + step) - correlation_after(gain, bias, c - step)) / (2 * step)
    assert scales.chi == pytest.approx(slope, abs=1e-3)
    np.testing.assert_allclose(scales.signal, -1 / np.log(slope), rtol=0.01)
    np.testing.assert_allclose(scales.gradient, 1 / np.log(tanh_mean_field(gain, bias).chi), rtol=1e-12)


def test_simulated_nets_make_inputs_as_alike_as_it_says() -> None:
    """The same matrix at every step; correlations of all pairs of six inputs, over nets, which scatter by 0.06."""
    rng, size, gain, bias = np.random.default_rng(0), 500, 2.5, 0.6
    found = []
    for _ in range(16):
        matrix, biases = gain / np.sqrt(size) * rng.normal(size=(size, size)), bias * rng.normal(size=size)
        states = np.tanh(rng.normal(size=(6, size)))
        for step in range(30):
            inner = states @ matrix.T + biases
            states = np.tanh(inner)
            lengths = np.linalg.norm(inner, axis=1)
            pairs = (inner @ inner.T / np.outer(lengths, lengths))[np.triu_indices(6, 1)]
            if step >= 15:
                found.append(pairs.mean())
    assert np.mean(found) == pytest.approx(float(depth_scales(gain, bias).correlation), abs=0.03)


def test_lengths_grow_without_bound_at_the_edge() -> None:
    edge = edge_of_chaos(0.3)
    scales = depth_scales(edge + np.array([-0.01, -1e-5, 1e-5, 0.01]), 0.3)
    assert np.all(scales.signal[[1, 2]] > 1e4)
    assert np.all(scales.signal[[0, 3]] < 200)
    assert scales.signal.shape == scales.gradient.shape == (4,)


def test_without_weights_nothing_is_carried() -> None:
    assert depth_scales(0.0, 0.5).signal == 0
    with pytest.raises(ValueError, match="σ_w is a standard deviation"):
        depth_scales(-1.0, 0.5)


def test_mean_exponent_by_determinants() -> None:
    """E[ln |det W|] / N of Gaussian matrices and E[ln tanh'] over Gaussian units, by Monte Carlo."""
    rng, size, gain, noise = np.random.default_rng(1), 60, 1.7, 0.8
    draws = gain / np.sqrt(size) * rng.normal(size=(400, size, size))
    determinant = np.linalg.slogdet(draws)[1].mean() / size
    x = np.sqrt(float(tanh_mean_field(gain, noise).q)) * rng.normal(size=400_000)
    slopes = np.log1p(-(np.tanh(x) ** 2)).mean()
    assert tanh_mean_exponent(gain, noise, size) == pytest.approx(determinant + slopes, abs=0.01)
    assert tanh_mean_exponent(gain, noise, 10**6) == pytest.approx(
        float(tanh_mean_exponent(gain, noise)), abs=1e-5
    )


def test_mean_exponent_at_rest_and_without_weights() -> None:
    np.testing.assert_allclose(
        tanh_mean_exponent(np.array([0.0, 0.5]), 0.0), [-np.inf, np.log(0.5) - 0.5], rtol=1e-12
    )
    with pytest.raises(ValueError, match="size must be a whole number of at least 1"):
        tanh_mean_exponent(1.0, 0.0, 0)
