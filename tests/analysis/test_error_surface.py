"""Surfaces, directions and paths against closed forms, NumPy, and the cliff of the one-unit net where it must
be."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import expit

from analysis import (
    ScalarRNN,
    ScalarRNNLoss,
    bistable_range,
    coordinates,
    fixed_point_curve,
    hessian_directions,
    last_state,
    loss_surface,
    one_parameter,
    random_direction,
)
from models import GRU, Elman, unroll
from models.cell import Array
from train.descent import clipped_sgd, path_of

CENTRE = {"b": np.array([1.0, -2.0]), "w": np.array([[0.5, 0.0], [3.0, 1.0]])}
BEND = {"b": np.array([1.0, 4.0]), "w": np.array([[9.0, -16.0], [0.25, 2.0]])}


def bowl(p: Any) -> Array:
    """½ Σ k (θ − c)²: its Hessian is diagonal."""
    terms = [jnp.sum(jnp.asarray(BEND[n]) * (p[n] - jnp.asarray(CENTRE[n])) ** 2) for n in BEND]
    return jnp.sum(jnp.stack(terms)) / 2


def zeros() -> Any:
    return {name: jnp.zeros(value.shape) for name, value in CENTRE.items()}


@pytest.mark.usefixtures("x64")
def test_plane_of_two_parameters() -> None:
    directions = (one_parameter(zeros(), "b", (1,)), one_parameter(zeros(), "w", (0, 1)))
    first, second = np.linspace(-3, 1, 5), np.linspace(0, 2, 3)
    found = loss_surface(bowl, zeros(), directions, first, second, chunk=4)
    a, b = np.meshgrid(first, second, indexing="ij")
    rest = (1 * 1 + 9 * 0.25 + 0.25 * 9 + 2 * 1) / 2
    np.testing.assert_allclose(found.loss, rest + 2 * (a + 2) ** 2 - 8 * b**2, rtol=1e-12)
    slopes = np.stack([4 * (a + 2), -16 * b], axis=-1)
    np.testing.assert_allclose(found.slopes, slopes, atol=1e-12)
    others = 1 + (9 * 0.5) ** 2 + (0.25 * 3) ** 2 + 2**2
    np.testing.assert_allclose(found.gradient_norm, np.sqrt(others + np.sum(slopes**2, -1)), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_hessian_directions() -> None:
    """The two largest in modulus, a negative one first; each direction is one parameter."""
    values, directions = hessian_directions(bowl, zeros(), 2)
    np.testing.assert_allclose(values, [-16, 9], rtol=1e-9)
    for direction, index in zip(directions, ((0, 1), (0, 0)), strict=True):
        np.testing.assert_allclose(np.abs(direction["w"][index]), 1, rtol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(direction["w"]), 1, rtol=1e-9)
    with pytest.raises(ValueError, match="count"):
        hessian_directions(bowl, zeros(), 6)


@pytest.mark.usefixtures("x64")
def test_hessian_of_a_net() -> None:
    """All of a small net's Hessian by `jax.hessian` and LAPACK."""
    cell = Elman(3)
    params = cell.init(jax.random.key(0), 2)
    xs = jax.random.normal(jax.random.key(1), (5, 2))

    def loss(params: Any) -> Array:
        return jnp.sum(unroll(cell, params, xs, method="scan")[1] ** 2)

    flat, restore = ravel_pytree(params)
    theirs = np.linalg.eigvalsh(jax.jit(jax.hessian(lambda v: loss(restore(v))))(flat))
    values, _ = hessian_directions(loss, params, 3)
    np.testing.assert_allclose(values, sorted(theirs, key=abs, reverse=True)[:3], rtol=1e-8)


def test_filter_normalisation() -> None:
    """Every column as long as that of the parameters; biases stay; another key, another direction."""
    params = GRU(4).init(jax.random.key(0), 3)
    found = [random_direction(jax.random.key(k), params) for k in (1, 2)]
    for name in ("kernel", "recurrent"):
        expected = np.linalg.norm(params[name], axis=0)
        np.testing.assert_allclose(np.linalg.norm(found[0][name], axis=0), expected, rtol=1e-5)
        assert not np.allclose(found[0][name], found[1][name])
    assert not np.any(found[0]["bias"])


def test_coordinates() -> None:
    """Of points on the plane; and what stands across it is left out, also where the directions aren't
    orthogonal."""
    directions = ({"b": jnp.array([1.0, 0.0, 0.0])}, {"b": jnp.array([1.0, 2.0, 0.0])})
    origin = {"b": jnp.array([1.0, 1.0, 1.0])}
    points = {"b": jnp.array([[1.0, 1.0, 1.0], [4.0, 5.0, 1.0], [4.0, 5.0, 7.0]])}
    np.testing.assert_allclose(coordinates(points, origin, directions), [[0, 0], [1, 2], [1, 2]], atol=1e-5)


# --- the one-unit net


@pytest.mark.usefixtures("x64")
def test_the_loss_of_pascanu_2013() -> None:
    """x_t = w σ(x_{t−1}) + b for 50 steps, (σ(x_50) − 0.7)², by a NumPy loop; slopes by central differences."""

    def by_hand(w: float, b: float) -> float:
        x = 0.3
        for _ in range(50):
            x = w * expit(x) + b
        return (expit(x) - 0.7) ** 2

    loss = ScalarRNNLoss(ScalarRNN(start=0.3))
    params = {"w": jnp.asarray(4.0), "b": jnp.asarray(-2.0)}
    directions = (one_parameter(params, "w"), one_parameter(params, "b"))
    first, second = np.linspace(-0.5, 1.5, 4), np.linspace(-1, 1, 5)
    found = loss_surface(loss, params, directions, first, second)
    for i, dw in enumerate(first):
        for j, db in enumerate(second):
            w, b, e = 4 + dw, -2 + db, 1e-6
            np.testing.assert_allclose(found.loss[i, j], by_hand(w, b), rtol=1e-9, atol=1e-14)
            slopes = [by_hand(w + e, b) - by_hand(w - e, b), by_hand(w, b + e) - by_hand(w, b - e)]
            np.testing.assert_allclose(found.slopes[i, j], np.array(slopes) / (2 * e), rtol=1e-4, atol=1e-8)
            norm = np.linalg.norm(found.slopes[i, j])
            np.testing.assert_allclose(found.gradient_norm[i, j], norm, rtol=1e-9)


def test_bistable_range_and_its_fixed_points() -> None:
    """For w = 5 two points are stable exactly for −2.65561 < b < −2.34439: roots of x − 5σ(x) − b on a grid,
    counted to either side of either edge."""
    low, high = bistable_range(5.0)
    np.testing.assert_allclose([low, high], [-2.65561, -2.34439], atol=5e-6)
    x = np.linspace(-6, 6, 2_000_001)
    for edge, inside in ((low, 1), (high, -1)):
        for away, count in ((1e-5 * inside, 3), (-1e-5 * inside, 1)):
            assert np.count_nonzero(np.diff(np.sign(x - 5 * expit(x) - (edge + away)))) == count
    at = np.array([-3.0, -1.0, 0.0, 0.9, 1.1])
    b, stable = fixed_point_curve(5.0, at)
    np.testing.assert_allclose(5 * expit(at) + b, at, atol=1e-12)
    np.testing.assert_array_equal(stable, 5 * expit(at) * expit(-at) < 1)
    with pytest.raises(ValueError, match="w must be above 4"):
        bistable_range(4.0)


def peak(steps: int, b: np.ndarray) -> float:
    """Finds where |∂x_T/∂b| is largest, x' = 5 σ(x) + b from x_0 = −1."""
    cell, params = ScalarRNN(start=-1.0), {"w": jnp.asarray(5.0), "b": jnp.asarray(0.0)}
    directions = (one_parameter(params, "w"), one_parameter(params, "b"))
    found = loss_surface(lambda p: last_state(cell, p, steps), params, directions, np.zeros(1), b, chunk=512)
    return float(b[np.argmax(np.abs(found.slopes[0, :, 1]))])


@pytest.mark.usefixtures("x64")
def test_the_cliff_stands_at_the_bifurcation() -> None:
    """At T = 2,000 within 1e-4 of b = −2.34439, where the stable point goes; at T = 50 still 0.006 away."""
    sigma = (1 - np.sqrt(0.2)) / 2
    edge = np.log(sigma / (1 - sigma)) - 5 * sigma
    np.testing.assert_allclose(edge, -2.34439, atol=5e-6)
    np.testing.assert_allclose(peak(2000, np.arange(edge - 1e-3, edge + 1e-3, 2e-6)), edge, atol=1e-4)
    np.testing.assert_allclose(peak(50, np.arange(-2.4, -2.3, 1e-5)) - edge, 0.006, atol=0.001)


# --- paths


@pytest.mark.usefixtures("x64")
def test_descent_in_closed_form() -> None:
    """On ½ k θ²: θ_n = (1 − η k)ⁿ θ_0 without clipping; with it, steps of η c until |g| < c."""

    def valley(p: Array) -> Array:
        return 2 * p**2

    free = path_of(valley, jnp.asarray(3.0), clipped_sgd(0.1), 6)
    expected = 3.0 * 0.6 ** np.arange(7)
    np.testing.assert_allclose(free.params, expected, rtol=1e-12)
    np.testing.assert_allclose(free.loss, 2 * expected**2, rtol=1e-12)
    np.testing.assert_allclose(free.gradient_norm, 4 * expected, rtol=1e-12)
    bounded = path_of(valley, jnp.asarray(3.0), clipped_sgd(0.1, "value", 2.0), 3)
    np.testing.assert_allclose(bounded.params, [3, 2.8, 2.6, 2.4], rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_clipping_by_value_turns_and_by_norm_does_not() -> None:
    """Gradient (30, 4), bound 1: (1, 1) by value, (30, 4)/‖·‖ by norm."""

    def slope(p: Any) -> Array:
        return 30 * p["a"] + 4 * p["b"]

    start = {"a": jnp.asarray(0.0), "b": jnp.asarray(0.0)}
    for clip, expected in (("value", [1, 1]), ("norm", np.array([30, 4]) / np.hypot(30, 4))):
        path = path_of(slope, start, clipped_sgd(0.5, clip, 1.0), 1)
        moved = [path.params["a"][1], path.params["b"][1]]
        np.testing.assert_allclose(moved, -0.5 * np.asarray(expected), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_one_step_from_the_cliff() -> None:
    """Unclipped it leaves the picture, clipped by norm it stays within η c of where it was."""
    loss = ScalarRNNLoss()
    b = np.linspace(-2.7, -2.3, 2001)
    start = {"w": jnp.asarray(5.0), "b": jnp.asarray(0.0)}
    directions = (one_parameter(start, "w"), one_parameter(start, "b"))
    steepest = b[np.argmax(loss_surface(loss, start, directions, np.zeros(1), b).gradient_norm)]
    there = {"w": jnp.asarray(5.0), "b": jnp.asarray(steepest)}
    free = path_of(loss, there, clipped_sgd(1.0), 1)
    bounded = path_of(loss, there, clipped_sgd(1.0, "norm", 0.1), 1)
    assert np.hypot(*(free.params[n][1] - there[n] for n in "wb")) > 10
    np.testing.assert_allclose(np.hypot(*(bounded.params[n][1] - there[n] for n in "wb")), 0.1, rtol=1e-9)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no parameter 'x': there are b, w"):
        one_parameter(zeros(), "x")
    with pytest.raises(ValueError, match="outside 'w'"):
        one_parameter(zeros(), "w", (0, 2))
    with pytest.raises(ValueError, match="clip must be one of"):
        clipped_sgd(0.1, "often")
    with pytest.raises(ValueError, match="parameters' shapes"):
        loss_surface(bowl, zeros(), ({"b": jnp.zeros(2)}, zeros()), np.zeros(1), np.zeros(1))
