"""Maximum and attention over valid steps: against NumPy, with NaN in the padding, without a valid step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.layers.pooling import AttentionPooling, max_valid

T, B, H = 5, 3, 4
MASK = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]], bool)


@pytest.fixture
def ys() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(T, B, H)).astype(np.float32)
    return np.where(MASK[..., None], drawn, np.nan)


def attention_loop(params: Any, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One sequence `[T, H]` in double precision, step by step."""
    w, u, b = (np.asarray(params[name], np.float64) for name in ("readout", "kernel", "bias"))
    scores = [np.exp(w @ np.tanh(y @ u + b)) for y in ys.astype(np.float64)]
    weights = np.array(scores) / np.sum(scores)
    return np.sum([a * y for a, y in zip(weights, ys, strict=True)], axis=0), weights


def test_max(ys: np.ndarray) -> None:
    found = np.asarray(jax.jit(max_valid)(jnp.asarray(ys), jnp.asarray(MASK)))
    for b in range(2):
        np.testing.assert_array_equal(found[b], ys[MASK[:, b], b].max(axis=0))
    np.testing.assert_array_equal(found[2], 0)
    np.testing.assert_array_equal(jax.jit(max_valid)(jnp.asarray(ys[:1, 0])), ys[0, 0])


def test_attention(ys: np.ndarray) -> None:
    pooling = AttentionPooling(3)
    params = pooling.init(jax.random.key(1), H)
    params = params | {"bias": jnp.array([0.1, -0.2, 0.3])}
    context, weights = jax.jit(pooling)(params, jnp.asarray(ys), jnp.asarray(MASK))
    for b in range(2):
        wanted, alphas = attention_loop(params, ys[MASK[:, b], b])
        np.testing.assert_allclose(context[b], wanted, rtol=1e-5)
        np.testing.assert_allclose(np.asarray(weights)[MASK[:, b], b], alphas, rtol=1e-5)
    assert not np.asarray(weights)[~MASK].any()
    assert not np.asarray(context)[2].any()
    alone, alphas = jax.jit(pooling)(params, jnp.asarray(ys[[0, 1, 3, 4], 0]))
    np.testing.assert_allclose(alone, context[0], rtol=1e-5)
    assert alphas.shape == (4,)


def test_no_gradient_from_the_padding(ys: np.ndarray) -> None:
    """Masked steps get zero, and NaN in them reaches no other gradient."""
    pooling = AttentionPooling(3)
    params = pooling.init(jax.random.key(1), H)
    mask = jnp.asarray(MASK)

    def total(ys: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(pooling(params, ys, mask)[0])) + jnp.sum(jnp.square(max_valid(ys, mask)))

    slope = np.asarray(jax.jit(jax.grad(total))(jnp.asarray(ys)))
    assert not slope[~MASK].any()
    assert np.isfinite(slope).all()
    assert slope[MASK].any(axis=-1).all()
