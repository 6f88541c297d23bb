"""The unitary network: agreement with its equations, and a matrix that is unitary."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import unroll
from models.cells.complex_parts import modrelu
from models.cells.unitary import UnitaryRNN
from tests.models.cells.agreement import Leaves, compare, initial, random_params
from tests.models.loops import Arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")


def matrix(cell: UnitaryRNN, p: Arrays) -> np.ndarray:
    """U as a product of eight matrices."""
    size = cell.hidden_size
    n = np.arange(size)
    fourier = np.exp(-2j * np.pi * np.outer(n, n) / size) / np.sqrt(size)
    d = [np.diag(np.exp(1j * phases)) for phases in p["phases"]]
    r = []
    for real, imaginary in p["reflections"]:
        v = (real + 1j * imaginary)[:, None]
        r.append(np.eye(size) - 2 * v @ v.conj().T / np.sum(np.abs(v) ** 2))
    permutation = np.eye(size)[np.random.default_rng(cell.permutation_seed).permutation(size)]
    return d[2] @ r[1] @ fourier.conj().T @ d[1] @ permutation @ r[0] @ fourier @ d[0]


def loop(cell: UnitaryRNN, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    u, h, ys = matrix(cell, p), start[0], []
    kernel = p["kernel"][:, : cell.hidden_size] + 1j * p["kernel"][:, cell.hidden_size :]
    for x in xs:
        z = u @ h + x @ kernel
        h = np.maximum(np.abs(z) + p["bias"], 0) * z / np.abs(z)
        ys.append(np.concatenate([h.real, h.imag]))
    return np.stack(ys), [h]


@pytest.mark.parametrize(
    "cell", [UnitaryRNN(4), UnitaryRNN(3, permutation_seed=5)], ids=lambda v: getattr(v, "__name__", str(v))
)
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_equations(cell: UnitaryRNN) -> None:
    start = np.linspace(-1, 1, cell.hidden_size) + 1j * np.linspace(0.5, -0.2, cell.hidden_size)
    p = random_params(cell)
    np.testing.assert_allclose(jax.jit(cell.matrix)(p), matrix(cell, p), atol=1e-12)
    params = {name: leaf for name, leaf in p.items() if name != "initial"}
    compare(
        cell, partial(loop, cell), [start], params=params | {"initial": np.stack([start.real, start.imag])}
    )


@pytest.mark.usefixtures("x64")
def test_the_first_state_is_learned() -> None:
    """Its gradient, through an unroll that is given no state, is that of the state given."""
    cell = UnitaryRNN(3)
    params = jax.tree.map(jnp.asarray, random_params(cell))
    xs = jax.random.normal(jax.random.key(0), (3, 2, 2))
    weight = jnp.sin(jnp.arange(3 * 2 * 6.0)).reshape(3, 2, 6)

    def of_initial(initial):
        return jnp.sum(weight * unroll(cell, params | {"initial": initial}, xs)[1])

    def of_state(state):
        return jnp.sum(weight * unroll(cell, params, xs, jax.lax.complex(*state))[1])

    first = params["initial"]
    of_each = jax.jit(jax.grad(of_state))(jnp.broadcast_to(first[:, None], (2, 2, 3)))
    np.testing.assert_allclose(jax.jit(jax.grad(of_initial))(first), of_each.sum(axis=1), atol=1e-12)
    assert float(jnp.abs(of_each).min()) > 1e-3


def test_unitary_in_single_precision() -> None:
    """Norms are kept, and the eigenvalues lie on the unit circle, also after many products."""
    cell = UnitaryRNN(64)
    params = initial(cell, jax.random.key(0), 2)
    u = np.asarray(jax.jit(cell.matrix)(params), np.complex128)
    assert np.linalg.norm(u.conj().T @ u - np.eye(64), 2) < 1e-6
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(u)), 1, atol=1e-6)
    # 500 steps without input: with b = 0 modReLU is the identity.
    start = cell.initial_state(params)
    final, ys = jax.jit(lambda p: unroll(cell, p | {"bias": jnp.zeros(64)}, jnp.zeros((500, 2))))(params)
    assert float(jnp.linalg.norm(final) / jnp.linalg.norm(start)) == pytest.approx(1, abs=1e-4)
    assert ys.shape == (500, 128)
    assert ys.dtype == jnp.float32


def test_gradients_are_finite_at_zero() -> None:
    """A state of zeros without input, where the phase is undefined."""

    def scalar(z, b):
        return jnp.sum(modrelu(z, b).real)

    for bias in (-0.5, 0.0, 0.5):
        found = jax.grad(scalar, argnums=(0, 1))(jnp.zeros(3, jnp.complex64), jnp.full(3, bias))
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in found)
        np.testing.assert_array_equal(modrelu(jnp.zeros(3, jnp.complex64), jnp.full(3, bias)), 0)


def test_permutation_belongs_to_the_cell() -> None:
    params = initial(UnitaryRNN(8), jax.random.key(0), 1)
    one, other, again = (jax.jit(UnitaryRNN(8, seed).matrix)(params) for seed in (0, 1, 0))
    assert float(jnp.abs(one - other).max()) > 0.1
    np.testing.assert_array_equal(one, again)
