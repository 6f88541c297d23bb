"""RG-LRU against its equations, and near a = 1, where the plain formula has neither digits nor a slope."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from models.cells.rg_lru import RGLRU, complement
from tests.models.cells.agreement import Leaves, compare, initial, sigmoid
from tests.models.loops import Arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")


def by_blocks(u: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """One block after the other."""
    pieces = np.split(u, len(kernel))
    return np.concatenate([piece @ block for piece, block in zip(pieces, kernel, strict=True)])


def loop(cell: RGLRU, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    h, ys = start[0], []
    size = cell.hidden_size
    for x in xs:
        u = x @ p["kernel"] + p["projection_bias"] if cell.projection else x
        r = sigmoid(by_blocks(u, p["recurrence_kernel"]) + p["bias"][:size])
        i = sigmoid(by_blocks(u, p["input_kernel"]) + p["bias"][size:])
        a = sigmoid(p["decay"]) ** (cell.sharpness * r)
        h = a * h + np.sqrt(1 - a**2) * i * u
        ys.append(h)
    return np.stack(ys), [h]


@pytest.mark.parametrize(
    "cell",
    [RGLRU(4, blocks=2), RGLRU(3, sharpness=2.0), RGLRU(2, projection=False)],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_equations(cell: RGLRU) -> None:
    # √(1 − a²) in the loop has lost some digits itself.
    compare(cell, partial(loop, cell), [np.linspace(-1, 1, cell.hidden_size)], tolerance=1e-10)


def exact(log_rate: float) -> tuple[float, float]:
    """√(1 − a²) and its slope, in fifty digits."""
    with mpmath.workdps(50):
        s = mpmath.mpf(log_rate)
        value, slope = mpmath.taylor(lambda s: mpmath.sqrt(-mpmath.expm1(-2 * mpmath.exp(s))), s, 1)
        return float(value), float(slope)


def test_complement_in_single_precision() -> None:
    """From a = 1 − 1e-35, where 1 − a² is 0 in any precision of the machine, to a = e^{-30}."""
    points = np.array([-80.0, -60.0, -42.0, -41.0, -20.0, -8.0, -1.0, 0.0, 1.0, 3.4], np.float32)
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(complement)))(points)
    expected = np.array([exact(float(s)) for s in points])
    np.testing.assert_allclose(values, expected[:, 0], rtol=1e-6)
    np.testing.assert_allclose(slopes, expected[:, 1], rtol=2e-6, atol=1e-30)
    assert float(jnp.sqrt(1 - jnp.exp(-jnp.exp(jnp.float32(-20.0))) ** 2)) == 0  # the plain formula


def test_gradients_stay_finite_at_the_ends() -> None:
    """Gates that are shut or open beyond what single precision can tell from 0 and 1, and Λ as far out."""
    cell = RGLRU(5)
    params = initial(cell, jax.random.key(0), 1)
    gates = jnp.array([-300.0, -100.0, 0.0, 100.0, 300.0])

    def scalar(decay, recurrence, gate):
        drive = {"input": jnp.ones(5), "recurrence_gate": recurrence, "input_gate": gate}
        a, b = cell.coefficients(params | {"decay": decay}, drive)
        return jnp.sum(a) + jnp.sum(b)

    both = jax.jit(jax.value_and_grad(scalar, argnums=(0, 1, 2)))
    for decay in (-300.0, -3.0, 3.0, 300.0):
        for leaf in jax.tree.leaves(both(jnp.full(5, decay), gates, gates)):
            assert bool(jnp.isfinite(leaf).all())


def test_decay_of_an_open_gate_begins_between_its_bounds() -> None:
    decay = np.asarray(initial(RGLRU(500), jax.random.key(0), 1)["decay"], np.float64)
    opened = sigmoid(decay) ** 8
    assert 0.9 - 1e-5 < opened.min() < 0.902
    assert 0.997 < opened.max() < 0.999 + 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RGLRU(4, blocks=3), "3 blocks don't divide"),
        (lambda: RGLRU(4, sharpness=0.0), "sharpness"),
        (lambda: RGLRU(4, projection=False).init(jax.random.key(0), 2), "hidden_size, 4, but D is 2"),
    ],
)
def test_refuses(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
