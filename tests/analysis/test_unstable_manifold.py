"""Ways down from saddles that are known in closed form."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root_scalar

from analysis import unstable_manifold
from models import LSTM, Elman


@pytest.mark.usefixtures("x64")
def test_saddle_between_two_stable_points() -> None:
    """h' = tanh(2 h_1), tanh(h_2/2): from 0 to ± a with a = tanh 2a, along the first."""
    params = {
        "kernel": jnp.zeros((1, 2)),
        "recurrent": jnp.diag(jnp.asarray([2.0, 0.5])),
        "bias": jnp.zeros(2),
    }
    ways = unstable_manifold(Elman(2), params, jnp.zeros(1), np.zeros((1, 2)), steps=60, push=1e-3)
    assert ways.shape == (1, 2, 61, 2)
    a = float(root_scalar(lambda a: a - np.tanh(2 * a), bracket=(0.1, 1), xtol=1e-14).root)
    order = np.argsort(ways[0, :, -1, 0])
    np.testing.assert_allclose(ways[0, order, 0], [[-1e-3, 0], [1e-3, 0]], atol=1e-12)
    np.testing.assert_allclose(ways[0, order, -1], [[-a, 0], [a, 0]], atol=1e-10)
    # Step by step the map itself.
    np.testing.assert_allclose(ways[0, :, 1:, 0], np.tanh(2 * ways[0, :, :-1, 0]), rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_direction_is_that_of_the_largest_eigenvalue() -> None:
    """J = Bᵀ diag(2, 1/2) B⁻ᵀ at zero, with columns that aren't orthogonal."""
    basis = np.array([[0.8, 0.6], [0.6, -0.8]]) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    jacobian = basis @ np.diag([2.0, 0.5]) @ np.linalg.inv(basis)
    params = {"kernel": jnp.zeros((1, 2)), "recurrent": jnp.asarray(jacobian.T), "bias": jnp.zeros(2)}
    (pair,) = unstable_manifold(Elman(2), params, jnp.zeros(1), np.zeros((1, 2)), steps=1, push=1e-4)
    along = basis[:, 0] / np.linalg.norm(basis[:, 0])
    np.testing.assert_allclose(np.abs(pair[:, 0] @ along), 1e-4, rtol=1e-9)
    np.testing.assert_allclose(pair[:, 1], 2 * pair[:, 0], rtol=1e-6)  # tanh is linear so near to zero


def test_no_points() -> None:
    cell = LSTM(2)
    params = cell.init(jnp.asarray([0, 1], jnp.uint32), 1)
    assert unstable_manifold(cell, params, jnp.zeros(1), np.zeros((0, 4)), steps=3).shape == (0, 2, 4, 4)
    with pytest.raises(ValueError, match="steps"):
        unstable_manifold(cell, params, jnp.zeros(1), np.zeros((0, 4)), steps=0)
