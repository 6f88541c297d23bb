"""The LRU against its equations, and its beginning on the ring."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.cells.linear_recurrent_unit import LRU
from tests.models.cells.agreement import Leaves, compare, initial
from tests.models.loops import Arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")


def loop(cell: LRU, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    s, ys = start[0], []
    for x in xs:
        b = x @ (p["input_real"] + 1j * p["input_imag"])
        s = np.exp(-np.exp(p["log_decay"]) + 1j * np.exp(p["log_phase"])) * s + np.exp(p["log_scale"]) * b
        ys.append((s @ (p["output_real"] + 1j * p["output_imag"])).real + x @ p["skip"])
    return np.stack(ys), [s]


@pytest.mark.parametrize(
    "cell",
    [LRU(3), LRU(2, state_size=4, least_radius=0.5, most_radius=0.9)],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_equations(cell: LRU) -> None:
    compare(cell, partial(loop, cell), [np.linspace(-1, 1, cell.states) * (1 + 0.3j)])


@pytest.mark.parametrize(("inner", "outer", "phase"), [(0.0, 1.0, 2 * np.pi), (0.9, 0.999, np.pi / 10)])
def test_begins_uniform_on_the_ring(inner: float, outer: float, phase: float) -> None:
    """In area: |λ|² is uniform between the squared radii, and the phase between 0 and its bound."""
    cell = LRU(4, 2000, inner, outer, phase)
    params = initial(cell, jax.random.key(0), 3)
    decay = np.asarray(jax.jit(cell.prepare)(params)["decay"], np.complex128)
    assert (np.abs(decay) < 1).all()
    for values, least, most in (
        (np.abs(decay) ** 2, inner**2, outer**2),
        (np.angle(decay) % (2 * np.pi), 0, phase),
    ):
        assert least - 1e-6 <= values.min() < least + 0.01 * (most - least)
        assert most - 0.01 * (most - least) < values.max() <= most + 1e-6
        spread = (most - least) / 12**0.5
        assert values.mean() == pytest.approx((least + most) / 2, abs=4 * spread / 2000**0.5)


def test_white_input_makes_a_state_of_its_own_size() -> None:
    """γ² / (1 − |λ|²) = 1, in single precision too, where |λ| is within 1e-4 of 1."""
    params = initial(LRU(4, 500, 0.9999, 1.0), jax.random.key(0), 3)
    log_decay, log_scale = (np.asarray(params[name], np.float64) for name in ("log_decay", "log_scale"))
    np.testing.assert_allclose(np.exp(2 * log_scale) / -np.expm1(-2 * np.exp(log_decay)), 1, rtol=1e-5)


def test_stable_whatever_its_parameters() -> None:
    """|λ| ≤ 1 for any ν."""
    cell = LRU(5)
    params = initial(cell, jax.random.key(0), 1) | {"log_decay": jnp.array([-80.0, -10.0, 0.0, 3.0, 80.0])}
    assert float(jnp.abs(jax.jit(cell.prepare)(params)["decay"]).max()) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_radius": 0.9, "most_radius": 0.9}, "least_radius < most_radius"),
        ({"most_radius": 1.5}, "least_radius < most_radius"),
        ({"most_phase": 0.0}, "most_phase"),
        ({"state_size": 0}, "state_size"),
    ],
)
def test_refuses(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        LRU(3, **options)
