"""Newton's method is taken where the largest Lyapunov exponent promises that it pays, and the reason is told."""

import math
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import LSTM, Auto, Elman, Newton, Scan, unroll_with_info
from models.cell import Array
from models.recurrence.lyapunov_estimate import expected_rounds

T, H = 200, 16


def example(gains: tuple[float, ...], noise: float = 0.5) -> tuple[Any, Array]:
    """Linear nets g Q, whose exponent is ln g exactly; a net a gain, driven by noise."""
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))[0]
    params = [
        {"kernel": jnp.eye(H), "recurrent": jnp.asarray(g * q, jnp.float32), "bias": jnp.zeros(H)}
        for g in gains
    ]
    return params, jnp.asarray(noise * np.random.default_rng(1).normal(size=(T, H)), jnp.float32)


def test_rounds_expected() -> None:
    """Within about a factor of two of what was counted; none are enough from 0 on."""
    counted = {
        -1.2: (5, 5),
        -0.55: (6, 7),
        -0.25: (10, 16),
        -0.079: (13, 13),
        -0.049: (11, 16),
        -0.02: (40, 40),
    }
    for exponent, (fewest, most) in counted.items():
        assert most / 2.1 < expected_rounds(exponent) < 2 * fewest
    assert expected_rounds(0.0) == expected_rounds(0.3) == math.inf
    several = jnp.array([-0.25, 0.0, 0.3])
    np.testing.assert_allclose(expected_rounds(several), [7.8, np.inf, np.inf], rtol=1e-6)


def test_an_exponent_that_is_given() -> None:
    (params,), xs = example((0.5,))
    cell = Elman(H)
    _, expected, _ = unroll_with_info(cell, params, xs, method="scan")
    _, ys, info = unroll_with_info(cell, params, xs, method=Newton(lyapunov=-0.8))
    assert isinstance(info.method, Newton)
    assert info.reason == (
        "requested, and the largest Lyapunov exponent is -0.8: about 6 rounds are expected"
    )
    np.testing.assert_allclose(ys, expected, atol=1e-5)
    for exponent in (0.1, 0.0, -0.005):
        _, ys, info = unroll_with_info(cell, params, xs, method=Newton(lyapunov=exponent))
        assert info.method == Scan()
        assert "more than Newton's 100 rounds" in info.reason
        np.testing.assert_array_equal(ys, expected)


@pytest.mark.full
@pytest.mark.parametrize("gain", [0.5, 1.1])
def test_an_exponent_that_is_measured(gain: float) -> None:
    """ln g of a linear net; where it is above 0 not one round is taken, and the numbers are scan's."""
    (params,), xs = example((gain,), noise=1e-3)
    cell = Elman(H, activation="identity")
    run = jax.jit(lambda p: unroll_with_info(cell, p, xs, method=Newton(lyapunov="measure")))
    _, ys, info = run(params)
    _, expected, _ = unroll_with_info(cell, params, xs, method="scan")
    np.testing.assert_allclose(info.exponent, math.log(gain), rtol=1e-4)
    assert bool(info.converged) == (gain < 1)
    assert (int(info.iterations) > 0) == (gain < 1)
    np.testing.assert_allclose(ys, expected, rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda p: jnp.sum(run(p)[0]))(params)
    reference = jax.grad(lambda p: jnp.sum(unroll_with_info(cell, p, xs, method="scan")[0]))(params)
    for found, wanted in zip(jax.tree.leaves(gradient), jax.tree.leaves(reference), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.slow
def test_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU never; on an accelerator where rounds times log₂ T are fewer than the steps."""
    params = LSTM(4).init(jax.random.key(0), 2)

    def way(method: Any, length: int = T) -> tuple[str, str]:
        info = unroll_with_info(LSTM(4), params, jnp.zeros((length, 2)), method=method)[2]
        return type(info.method).__name__, info.reason

    assert way(Auto(lyapunov=-1.0)) == way("auto") == way(Auto())
    assert way("auto")[0] == "Fused"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    jax.clear_caches()  # what was compiled for the CPU
    name, reason = way(Auto(lyapunov=-1.0))
    assert name == "Newton"
    assert "on a gpu, and the largest Lyapunov exponent is -1" in reason
    assert way(Auto(lyapunov=0.2))[0] == "Fused"
    assert way(Auto(lyapunov=-1.0), 8)[0] == "Fused"  # 6 rounds of 3 products are more than 8 steps
    assert way(Auto(lyapunov="measure"))[0] == "Newton"


@pytest.mark.parametrize("kind", [Newton, Auto])
def test_what_is_no_exponent_is_refused(kind: type) -> None:
    for wrong in ("guess", float("nan")):
        fields = Newton().__dict__ | {"lyapunov": wrong}
        with pytest.raises(ValueError, match=f"{kind.__name__}'s lyapunov is .* but is"):
            kind.__post_init__(SimpleNamespace(**fields))
