"""Measures of Jacobians and their products, against matrices whose answer is known."""

import cmath
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import (
    jacobian_eigenvalues,
    jacobian_singular_values,
    leading_singular_values,
    log_condition_numbers,
    log_norms,
    product_spectrum,
    spectral_radius,
    step_jacobians,
)
from experiments.contract import checks as contract
from models import LSTM, Cell, Elman, unroll
from models.cell import Array
from models.state import ravel_state

T, D, H = 5, 2, 3


def similar(matrix: np.ndarray, seed: int) -> np.ndarray:
    """The matrix in another basis: the same eigenvalues."""
    basis = np.random.default_rng(seed).normal(size=matrix.shape) + 3 * np.eye(len(matrix))
    return basis @ matrix @ np.linalg.inv(basis)


def test_eigenvalues() -> None:
    """Known ones, in an order that isn't theirs: largest modulus first, complex pairs both there."""
    angle = 0.8
    turn = 1.5 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.block([[np.diag([0.25, -2.0]), np.zeros((2, 2))], [np.zeros((2, 2)), turn]])
    found = jacobian_eigenvalues(np.stack([similar(matrix, seed) for seed in range(3)]))
    assert found.dtype == np.complex128
    pair = 1.5 * cmath.exp(1j * angle)
    for row in found:
        np.testing.assert_allclose(row[[0, 3]], [-2.0, 0.25], rtol=1e-12)
        np.testing.assert_allclose(row[1:3][np.argsort(row[1:3].imag)], [pair.conjugate(), pair], rtol=1e-12)


def test_eigenvalues_without_an_axis_of_time() -> None:
    companion = np.array([[0.0, 0, 6], [1, 0, -11], [0, 1, 6]])  # of (λ − 1)(λ − 2)(λ − 3)
    np.testing.assert_allclose(jacobian_eigenvalues(companion), [3, 2, 1], rtol=1e-12)
    np.testing.assert_allclose(spectral_radius(companion), 3, rtol=1e-12)


def test_spectral_radius() -> None:
    """Not the norm: a nilpotent matrix has none, however large it is; a negative eigenvalue counts as well."""
    nilpotent = np.array([[0.0, 1e6], [0.0, 0.0]])
    negative = np.array([[-3.0, 100.0], [0.0, 2.0]])
    np.testing.assert_allclose(spectral_radius(np.stack([nilpotent, negative])), [0.0, 3.0], rtol=1e-14)


# --- what is read off


def test_singular_values_norms_and_conditions() -> None:
    """Of matrices made with given singular values; ∞ where one is exactly zero."""
    rng = np.random.default_rng(0)
    values = np.array([[4.0, 2.0, 0.5], [3.0, 1.0, 1e-5]])
    u, v = (np.linalg.qr(rng.normal(size=(2, 3, 3)))[0] for _ in range(2))
    found = jacobian_singular_values(u * values[:, None] @ v)
    np.testing.assert_allclose(found, np.log(values), atol=1e-9)
    np.testing.assert_allclose(log_norms(found), np.log([4.0, 3.0]), atol=1e-12)
    frobenius = np.log(np.linalg.norm(u * values[:, None] @ v, axis=(1, 2)))
    np.testing.assert_allclose(log_norms(found, "frobenius"), frobenius, atol=1e-12)
    np.testing.assert_allclose(log_condition_numbers(found), np.log([8.0, 3e5]), atol=1e-9)
    dead = jacobian_singular_values(np.diag([2.0, 0.0]))
    assert np.isneginf(dead[1])
    assert np.isposinf(log_condition_numbers(dead))
    far = np.array([-5000.0, -5000.0])  # of a product that no floating-point number holds
    np.testing.assert_allclose(log_norms(far, "frobenius"), -5000 + math.log(2) / 2)


@pytest.mark.usefixtures("x64")
def test_order_of_products() -> None:
    """BPTT = J_T … J_1 = finite differences; J_1 … J_T is something else."""
    params, xs, state = contract.example(LSTM(H), ())
    weight = np.sin(np.arange(1.0, 2 * H + 1))
    vector, restore = ravel_state(state)

    def loss(vector: Array) -> Array:
        return ravel_state(unroll(LSTM(H), params, xs, restore(vector))[0])[0] @ jnp.asarray(weight)

    bptt = np.asarray(jax.grad(loss)(vector))
    jacobians = np.asarray(step_jacobians(LSTM(H), params, xs, state))
    np.testing.assert_allclose(weight @ np.linalg.multi_dot(jacobians[::-1]), bptt, rtol=1e-6)
    h, evaluate = 1e-5, jax.jit(loss)
    differences = [(evaluate(vector + h * e) - evaluate(vector - h * e)) / (2 * h) for e in jnp.eye(2 * H)]
    np.testing.assert_allclose(differences, bptt, rtol=1e-6)
    wrong = weight @ np.linalg.multi_dot(jacobians)
    assert np.abs(wrong - bptt).max() > 0.01 * np.abs(bptt).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [LSTM(8), pytest.param(Elman(16, activation="relu"), marks=pytest.mark.full)],
    ids=lambda c: type(c).__name__,
)
@pytest.mark.usefixtures("x64")
def test_leading_singular_values(cell: Cell) -> None:
    """Those of the whole product, from all Jacobians: of a few steps and of 2,000, where they are e^−hundreds."""
    p, _, state = contract.example(cell, ())
    for length in (3, 2000):
        xs = jnp.asarray(np.random.default_rng(0).normal(size=(length, D)))
        expected = product_spectrum(step_jacobians(cell, p, xs, state), [length])[0, :4]
        found = leading_singular_values(cell, p, xs, state, k=4, tolerance=1e-7, rounds=200)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-5)


def test_leading_singular_values_refuses() -> None:
    p = LSTM(H).init(jax.random.key(0), D)
    with pytest.raises(ValueError, match=r"there are 6 singular values, one for each number .* but k is 7"):
        leading_singular_values(LSTM(H), p, jnp.zeros((T, D)), k=7)
    with pytest.raises(ValueError, match=r"still change by more than 0.001 after 1 rounds"):
        leading_singular_values(LSTM(H), p, jnp.ones((T, D)), k=2, rounds=1)
