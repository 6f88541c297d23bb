"""Activations that are written here, against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from models.cell import activation

Z = np.linspace(-12, 12, 97)


@pytest.mark.parametrize(("bits", "tolerance"), [(64, 1e-14), (32, 1e-6)])
def test_gelu(bits: int, tolerance: float, request: pytest.FixtureRequest) -> None:
    """x Φ(x) and its derivative Φ(x) + x φ(x), far out too."""
    if bits == 64:
        request.getfixturevalue("x64")
    value, slope = jax.vmap(jax.value_and_grad(activation("gelu")))(jnp.asarray(Z))
    np.testing.assert_allclose(
        value, Z * norm.cdf(Z), rtol=0, atol=tolerance * np.maximum(1, np.abs(Z)).max()
    )
    np.testing.assert_allclose(slope, norm.cdf(Z) + Z * norm.pdf(Z), rtol=0, atol=tolerance)
