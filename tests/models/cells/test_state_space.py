"""S4D and S5 against their equations, against real systems discretised by SciPy, and at their beginnings."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from models import unroll
from models.cells.state_space import S4D, S5, check_discretisation, hippo_normal, zero_order_hold
from tests.models.cells.agreement import Leaves, compare, initial, random_params
from tests.models.loops import Arrays

pytestmark = pytest.mark.usefixtures("quick_compilation")


def of(p: Arrays, name: str) -> Any:
    return p[f"{name}_real"] + 1j * p[f"{name}_imag"]


def s4d(cell: S4D, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    a = -np.exp(p["log_decay"]) + 1j * p["frequency"]
    s, ys = start[0].copy(), []
    for x in xs:
        u = x @ p["kernel"] + p["bias"] if cell.projection else x
        y = np.zeros(cell.hidden_size)
        for h in range(cell.hidden_size):
            for n in range(cell.state_size):
                decay = np.exp(np.exp(p["log_step"][h]) * a[h, n])
                s[h, n] = decay * s[h, n] + (decay - 1) / a[h, n] * of(p, "input")[h, n] * u[h]
                y[h] += 2 * (of(p, "output")[h, n] * s[h, n]).real
        ys.append(y + p["skip"] * u)
    return np.stack(ys), [s]


def s5(cell: S5, p: Arrays, xs: np.ndarray, start: Leaves) -> tuple[np.ndarray, Leaves]:
    a = -np.exp(p["log_decay"]) + 1j * p["frequency"]
    decay = np.exp(np.exp(p["log_step"]) * a)
    s, ys = start[0], []
    for x in xs:
        s = decay * s + (decay - 1) / a * (x @ of(p, "input"))
        ys.append(2 * (s @ of(p, "output")).real + x @ p["skip"])
    return np.stack(ys), [s]


@pytest.mark.parametrize(
    ("cell", "loop"),
    [
        (S4D(3, state_size=2), s4d),
        (S4D(2, state_size=2, spectrum="inv", projection=False), s4d),
        (S5(3, state_size=4, blocks=2), s5),
    ],
    ids=lambda v: getattr(v, "__name__", str(v)),
)
@pytest.mark.usefixtures("x64")
def test_agrees_with_the_equations(cell, loop) -> None:
    params = random_params(cell)
    shape = (cell.hidden_size, cell.state_size) if isinstance(cell, S4D) else (cell.state_size,)
    compare(
        cell,
        partial(loop, cell),
        [np.linspace(-1, 1, np.prod(shape)).reshape(shape) * (1 - 0.5j)],
        params=params,
    )


def impulse(length: int, inputs: int, which: int) -> np.ndarray:
    return np.zeros((length, inputs)) + (np.arange(length) == 0)[:, None] * np.eye(inputs)[which][None, :]


def discretised(a: np.ndarray, b: np.ndarray, step: float, how: str = "zoh") -> tuple[np.ndarray, np.ndarray]:
    """s' = A s + B u in steps of length `step`, by SciPy: with u held, or bilinear."""
    system: Any = (a, b, np.zeros((1, len(a))), np.zeros((1, b.shape[1])))
    found: Any = scipy.signal.cont2discrete(system, step, how)
    return found[0], found[1]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("how", ["zoh", "bilinear"])
def test_impulse_response_of_s4d_is_its_kernel(how) -> None:
    """2 Re Σ_n C_n B̄_n Ā_nᵏ, with the system discretised as a real one, of twice the states, by SciPy."""
    cell = S4D(2, state_size=3, projection=False, discretisation=how)
    p = random_params(cell)
    ys = np.asarray(jax.jit(lambda p, xs: unroll(cell, p, xs)[1])(p, impulse(20, 2, 0) + impulse(20, 2, 1)))
    for h in range(2):
        a = np.zeros((6, 6))
        for n in range(3):
            re, im = -np.exp(p["log_decay"][h, n]), p["frequency"][h, n]
            a[2 * n : 2 * n + 2, 2 * n : 2 * n + 2] = [[re, -im], [im, re]]
        b = np.stack([p["input_real"][h], p["input_imag"][h]], axis=1).reshape(6, 1)
        c = 2 * np.stack([p["output_real"][h], -p["output_imag"][h]], axis=1).reshape(1, 6)
        step = float(np.exp(p["log_step"][h]))
        decay, held = discretised(a, b, step, how)
        kernel = [(c @ np.linalg.matrix_power(decay, k) @ held).item() for k in range(20)]
        kernel[0] += p["skip"][h]
        np.testing.assert_allclose(ys[:, h], kernel, atol=1e-12)


def hippo_n(size: int) -> np.ndarray:
    """HiPPO-LegS plus the rank one that makes it normal, entry by entry."""
    a = np.zeros((size, size))
    for n in range(size):
        for k in range(size):
            root = np.sqrt(2 * n + 1) * np.sqrt(2 * k + 1)
            legs = -root if n > k else -(n + 1) if n == k else 0
            a[n, k] = legs + np.sqrt(n + 0.5) * np.sqrt(k + 0.5)
    return a


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("how", ["zoh", "bilinear"])
def test_s5_begins_as_the_real_system_of_hippo(how) -> None:
    """Half the eigenvalues of HiPPO-N; and, with one step size for all, the impulse response of the real system
    with that matrix, of twice the states, discretised by SciPy."""
    cell = S5(3, state_size=4, least_step=0.0499, most_step=0.0501, discretisation=how)
    p = jax.tree.map(np.asarray, initial(cell, jax.random.key(0), 2)) | {"log_step": np.full(4, np.log(0.05))}
    a = hippo_n(8)
    eigenvalues = np.linalg.eigvals(a)
    upper = np.flatnonzero(eigenvalues.imag > 0)
    upper = upper[np.argsort(eigenvalues[upper].imag)]
    found = -np.exp(p["log_decay"]) + 1j * p["frequency"]
    np.testing.assert_allclose(found, eigenvalues[upper], atol=1e-10)

    # B and C back from the coordinates of the eigenvectors, with their conjugates.
    v: Any = hippo_normal(4)[1]
    np.testing.assert_allclose(a @ v, v * found[None, :], atol=1e-10)
    np.testing.assert_allclose(v.conj().T @ v, np.eye(4), atol=1e-12)
    b, c = 2 * (v @ of(p, "input").T).real, 2 * (of(p, "output").T @ v.conj().T).real
    decay, held = discretised(a, b, 0.05, how)
    run = jax.jit(lambda p, xs: unroll(cell, p, xs)[1])
    for which in range(2):
        expected = [c @ np.linalg.matrix_power(decay, k) @ held[:, which] for k in range(20)]
        expected[0] = expected[0] + p["skip"][which]
        np.testing.assert_allclose(run(p, impulse(20, 2, which)), expected, atol=1e-12)


def test_s5_blocks_repeat_the_spectrum() -> None:
    whole, blocks = (initial(S5(3, n, blocks=b), jax.random.key(0), 2) for n, b in ((2, 1), (6, 3)))
    np.testing.assert_allclose(blocks["frequency"], np.tile(whole["frequency"], 3), rtol=1e-6)


def test_s4d_begins_as_the_paper_says() -> None:
    lin, inv = (initial(S4D(2, 4, spectrum), jax.random.key(0), 3) for spectrum in ("lin", "inv"))
    for p in (lin, inv):
        np.testing.assert_allclose(-np.exp(p["log_decay"]), -0.5, rtol=1e-6)
    np.testing.assert_allclose(lin["frequency"][1], [0, np.pi, 2 * np.pi, 3 * np.pi], rtol=1e-6)
    # N = 8 in the paper's count.
    expected = [8 / np.pi * (8 / (2 * n + 1) - 1) for n in range(4)]
    np.testing.assert_allclose(inv["frequency"][1], expected, rtol=1e-6)
    # The slowest mode of Inv for large N is that of HiPPO-N, of which it is the limit.
    large = initial(S4D(1, 64, "inv"), jax.random.key(0), 1)["frequency"][0]
    assert float(large[0]) == pytest.approx(np.linalg.eigvals(hippo_n(128)).imag.max(), rel=0.02)


@pytest.mark.parametrize(
    "cell", [S4D(500, 1), S5(3, 500, blocks=100)], ids=lambda v: getattr(v, "__name__", str(v))
)
def test_step_sizes_begin_log_uniform(cell) -> None:
    steps = np.asarray(initial(cell, jax.random.key(0), 1)["log_step"])
    assert np.log(0.001) <= steps.min() < np.log(0.0011)
    assert np.log(0.09) < steps.max() <= np.log(0.1)
    assert steps.mean() == pytest.approx(np.log(0.01), abs=4 * np.log(100) / 12**0.5 / 500**0.5)


def test_small_steps_in_single_precision() -> None:
    """Keeps the digits where exp(ΔA) − 1 would lose them all."""
    steps = jnp.logspace(-8, 0, 17)
    params = {"log_decay": jnp.full(17, -0.7), "frequency": jnp.linspace(0.0, 40.0, 17)}
    _, held = jax.jit(zero_order_hold)(params, steps)
    z = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    a = -np.exp(z["log_decay"]) + 1j * z["frequency"]
    expected = np.expm1(a * np.asarray(steps, np.float64)) / a
    np.testing.assert_allclose(np.abs(held - expected) / np.abs(expected), 0, atol=2e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: S4D(3, least_step=0.1, most_step=0.01), "least_step < most_step"),
        (lambda: check_discretisation("euler"), "'zoh' or 'bilinear', but is 'euler'"),
        (lambda: S5(3, state_size=4, blocks=3), "3 blocks don't divide"),
        (lambda: S4D(3, projection=False).init(jax.random.key(0), 2), "channels, 3, but D is 2"),
    ],
)
def test_refuses(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()
