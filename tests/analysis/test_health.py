"""Health against the slow and exact functions of the laboratory, and against nets whose numbers are known."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import half_life, product_spectrum, step_jacobians
from analysis.health import health_arrays, leading_values, partial_products, probe_lags
from models import GRU, LSTM, Bidirectional, Cell, Elman, Stacked
from models.cell import Array

T, B, D, H = 8, 2, 3, 12


def total(final: object, ys: Array) -> Array:
    return jnp.sum(ys[-1])


def measured(cell: Cell, params: object, xs: Array, **options: int) -> dict[str, np.ndarray]:
    return jax.device_get(jax.jit(partial(health_arrays, cell, loss=total, **options))(params, xs))


def of(cell: Cell, length: int = T) -> tuple[dict, Array]:
    return cell.init(jax.random.key(0), D), jax.random.normal(jax.random.key(1), (length, B, D))


def test_a_rotation_that_shrinks() -> None:
    """h' = 0.9 Q h + …: every exponent is ln 0.9, every singular value of P_k 0.9^k, the gradient halves in
    ln 2 / −ln 0.9 steps."""
    cell = Elman(H, activation="identity")
    params, xs = of(cell)
    params["recurrent"] = 0.9 * jnp.linalg.qr(jax.random.normal(jax.random.key(2), (H, H)))[0]
    found = measured(cell, params, xs, directions=4)
    np.testing.assert_allclose(found["exponents"], math.log(0.9), atol=1e-5)
    lags, values = leading_values(found, 4)
    assert lags.tolist() == [1, 4]
    np.testing.assert_allclose(
        values, np.broadcast_to(lags[None, :, None] * math.log(0.9), (B, 2, 4)), atol=1e-4
    )
    norms = np.sqrt(H) * 0.9 ** np.arange(1, T + 1)  # of a vector of ones
    np.testing.assert_allclose(found["gradient_norms"], np.broadcast_to(norms[:, None], (T, B)), rtol=1e-4)
    assert half_life(found["gradient_norms"]) == pytest.approx(math.log(2) / -math.log(0.9), rel=1e-4)
    assert not any(name.startswith("saturated") for name in found)


@pytest.mark.parametrize(
    "cell", [pytest.param(Elman(H), marks=pytest.mark.full), LSTM(H)], ids=["elman", "lstm"]
)
def test_near_the_exact_singular_values(cell: Cell) -> None:
    """Never above those of the whole product, and hardly below the largest of them."""
    params, xs = of(cell, 16)
    lags, values = leading_values(measured(cell, params, xs, directions=6), 6)
    for b in range(B):
        exact = product_spectrum(step_jacobians(cell, params, xs[:, b]), lags.tolist())[:, :6]
        assert (values[b] <= exact + 1e-3).all()
        assert (exact - values[b] < 0.05).all()


@pytest.mark.full
def test_near_the_exact_singular_values_of_a_wider_net() -> None:
    """The spectrum is flat here, as that of one step of a Gaussian matrix is at its upper end."""
    cell = Elman(64)
    params, xs = of(cell, 16)
    params["recurrent"] = jax.random.normal(jax.random.key(2), (64, 64)) / 8
    lags, values = leading_values(measured(cell, params, xs[:, :1]), 8)
    exact = product_spectrum(step_jacobians(cell, params, xs[:, 0]), lags.tolist())[:, :8]
    assert (values[0] <= exact + 1e-3).all()
    assert (exact - values[0] < 0.1).all()
    assert (exact - values[0])[1:].max() < 0.03  # of products, whose values lie further apart


def test_leading_values_of_triangles_that_span_hundreds_of_decades() -> None:
    """Diagonal products are known whatever their range."""
    logs = np.array([0.3, -2.0, -9.0])
    triangles = np.broadcast_to(np.diag(np.exp(logs)), (1, 64, 3, 3))
    lags, values = leading_values({"triangles_64": triangles})
    assert lags.tolist() == [64]
    np.testing.assert_allclose(values[0, 0], 64 * logs, rtol=1e-12)
    random = np.triu(np.random.default_rng(0).normal(size=(1, 8, 3, 3)))
    (product,) = partial_products(random, 8)[0]
    np.testing.assert_allclose(product, np.linalg.multi_dot(list(random[0][::-1])), rtol=1e-12)


@pytest.mark.slow
def test_saturation_by_hand() -> None:
    """A forget bias of +6 holds every forget gate above 0.9, the other gates near one half; tanh units driven by
    large inputs, and ReLU units that are dead."""
    cell = LSTM(H)
    params, xs = of(cell)
    params = {name: jnp.zeros_like(leaf) for name, leaf in params.items()}
    found = measured(cell, params | {"bias": jnp.zeros(4 * H).at[H : 2 * H].set(6.0)}, xs)
    assert {k: float(v) for k, v in found.items() if k.startswith("saturated")} == {
        "saturated_input": 0.0, "saturated_forget": 1.0, "saturated_output": 0.0
    }  # fmt: skip
    zeros = {"kernel": jnp.zeros((D, 2)), "recurrent": jnp.zeros((2, 2)), "bias": jnp.array([2.0, 0.1])}
    assert float(measured(Elman(2), zeros, xs)["saturated_hidden"]) == 0.5  # tanh 2 = 0.96
    dead = zeros | {"bias": jnp.array([-1.0, 1.0])}
    assert float(measured(Elman(2, activation="relu"), dead, xs)["saturated_hidden"]) == 0.5


@pytest.mark.full
def test_a_stack() -> None:
    cell = Stacked((GRU(H), GRU(H)), "plain", None)
    found = measured(cell, *of(cell))
    assert {"saturated_layer1.reset", "saturated_layer2.update"} <= found.keys()
    assert np.isfinite(found["exponents"]).all()


def test_refusals() -> None:
    both = Bidirectional(GRU(H))
    with pytest.raises(ValueError, match="knows the future"):
        measured(both, *of(both))
    params, xs = of(GRU(H))
    with pytest.raises(ValueError, match="two steps or more, but they have 1"):
        measured(GRU(H), params, xs[:1])
    assert probe_lags(64) == [1, 4, 16, 64]
    assert probe_lags(63) == [1, 4, 16]
