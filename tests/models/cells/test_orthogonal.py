"""The orthogonal network: agreement with its equations, and a matrix that stays orthogonal."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg

from models import unroll
from models.cells.orthogonal import OrthogonalRNN, orthogonalised
from tests.models.cells.agreement import Leaves, compare, initial
from tests.models.loops import Arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")


def modrelu(z: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sign(z) * np.maximum(np.abs(z) + b, 0)


def matrix(cell: OrthogonalRNN, entries: np.ndarray) -> np.ndarray:
    """By an inverse, or SciPy's exponential."""
    size = cell.hidden_size
    a = np.zeros((size, size))
    count = 0
    for row in range(size):
        for column in range(row + 1, size):
            a[row, column], a[column, row] = entries[count], -entries[count]
            count += 1
    d = np.diag([-1.0] * round(cell.flipped * size) + [1.0] * (size - round(cell.flipped * size)))
    eye = np.eye(size)
    if cell.parametrisation == "cayley":
        return np.linalg.inv(eye + a) @ (eye - a) @ d
    return scipy.linalg.expm(a) @ d


def loop(cell: OrthogonalRNN, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    q, h, ys = matrix(cell, p["skew"]), start[0], []
    for x in xs:
        z = x @ p["kernel"] + h @ q
        h = modrelu(z, p["bias"]) if cell.activation == "modrelu" else np.tanh(z + p["bias"])
        ys.append(h)
    return np.stack(ys), [h]


@pytest.mark.parametrize(
    "cell",
    [
        OrthogonalRNN(4),
        OrthogonalRNN(3, activation="tanh", flipped=0.0),
        OrthogonalRNN(3, parametrisation="exponential", flipped=0.4),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_equations(cell: OrthogonalRNN) -> None:
    compare(cell, partial(loop, cell), [np.linspace(-1, 1, cell.hidden_size)])


def distance(q: jax.Array) -> float:
    """‖QᵀQ − I‖₂ in exact arithmetic, as good as."""
    exact = np.asarray(q, np.float64)
    return float(np.linalg.norm(exact.T @ exact - np.eye(len(exact)), 2))


@pytest.mark.parametrize("parametrisation", ["cayley", "exponential"])
def test_stays_orthogonal_through_training(parametrisation) -> None:
    """200 steps of Adam at a rate far too high, in single precision."""
    cell = OrthogonalRNN(24, parametrisation=parametrisation)
    params = initial(cell, jax.random.key(0), 2)
    xs, wanted = (
        jax.random.normal(jax.random.key(1), (8, 4, 2)),
        jax.random.normal(jax.random.key(2), (4, 24)),
    )
    adam = optax.adam(0.3)

    def loss(params):
        return jnp.mean((unroll(cell, params, xs)[1][-1] - wanted) ** 2)

    @jax.jit
    def train(params):
        def body(carry, _):
            params, moments = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, moments = adam.update(gradient, moments)
            return (optax.apply_updates(params, updates), moments), value

        return jax.lax.scan(body, (params, adam.init(params)), length=200)

    (trained, _), losses = train(params)
    assert bool(jnp.all(jnp.isfinite(losses)))
    first, last = (jax.jit(cell.orthogonal_matrix)(p["skew"]) for p in (params, trained))
    assert float(jnp.abs(last - first).max()) > 0.1  # it has gone somewhere
    assert distance(first) < 1e-6
    assert distance(last) < 1e-6


def test_orthogonal_where_the_solve_alone_is_not() -> None:
    """A of norm 1e3 and more: what the correction is there for."""
    cell = OrthogonalRNN(64)
    skew = 100 * jax.random.normal(jax.random.key(3), (64 * 63 // 2,))
    upper = jnp.zeros((64, 64)).at[np.triu_indices(64, 1)].set(skew)
    a, eye = upper - upper.T, jnp.eye(64)
    assert distance(jnp.linalg.solve(eye + a, eye - a)) > 1e-6
    assert distance(jax.jit(cell.orthogonal_matrix)(skew)) < 1e-6


def test_begins_as_rotations() -> None:
    """Eigenvalues exp(±it): t in (0, π/2) for Cayley, and beyond it for the exponential."""
    cayley, exponential = OrthogonalRNN(40, flipped=0.0), OrthogonalRNN(40, "exponential", flipped=0.0)
    for cell, farthest in ((cayley, np.pi / 2), (exponential, np.pi)):
        q = jax.jit(cell.orthogonal_matrix)(initial(cell, jax.random.key(0), 1)["skew"])
        angles = np.abs(np.angle(np.linalg.eigvals(np.asarray(q, np.float64))))
        assert 0.7 * farthest < angles.max() <= farthest + 1e-6
        assert len(np.unique(angles.round(4))) > 15


def test_fixed_diagonal_gives_the_other_determinant() -> None:
    """Without D the determinant is 1; one −1 in it makes it −1."""
    skew = jax.random.normal(jax.random.key(1), (10,))
    for flipped, determinant in ((0.0, 1.0), (0.2, -1.0), (0.4, 1.0)):
        q = jax.jit(OrthogonalRNN(5, flipped=flipped).orthogonal_matrix)(skew)
        assert np.linalg.det(np.asarray(q, np.float64)) == pytest.approx(determinant, abs=1e-5)


def test_correction_finds_the_nearest_orthogonal_matrix() -> None:
    """The polar factor, by SciPy."""
    rough = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    rough = rough + 1e-3 * np.random.default_rng(1).normal(size=(6, 6))
    nearest = scipy.linalg.polar(rough)[0]
    np.testing.assert_allclose(jax.jit(orthogonalised)(jnp.asarray(rough, jnp.float32)), nearest, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flipped": 1.5}, "between 0 and 1"),
        ({"activation": "softmax"}, "unknown activation"),
        ({"hidden_size": 0}, "hidden_size"),
    ],
)
def test_refuses(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        OrthogonalRNN(**({"hidden_size": 3} | options))
