"""Attention and its scores against NumPy loops in double precision."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import Additive, Dot, General, ScaledDot, attend
from models.layers.attention import Score, attend_in_blocks

pytestmark = pytest.mark.usefixtures("quick_compilation")
QUERIES, PLACES, SIZE = 3, 5, 4


def softmax_loop(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """α of one query, a place at a time."""
    weights = np.zeros(len(scores))
    for s, valid in enumerate(mask):
        if valid:
            weights[s] = np.exp(scores[s])
    total = weights.sum()
    return weights / total if total else weights


SCORES: dict[str, tuple[Score, Any]] = {
    "dot": (Dot(), lambda p, q, v: q @ v),
    "scaled_dot": (ScaledDot(), lambda p, q, v: q @ v / 2),
    "general": (General(), lambda p, q, v: q @ (p["kernel"].T @ v)),
    "additive": (
        Additive(6),
        lambda p, q, v: p["readout"] @ np.tanh(p["query"].T @ q + p["kernel"].T @ v + p["bias"]),
    ),
}


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.usefixtures("x64")
def test_scores(name: str) -> None:
    score, loop = SCORES[name]
    rng = np.random.default_rng(0)
    params = score.init(jax.random.key(1), SIZE, SIZE)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    queries, values = rng.normal(size=(2, QUERIES, SIZE)), rng.normal(size=(2, PLACES, SIZE))
    found = score(params, jnp.asarray(queries), score.keys(params, jnp.asarray(values)))
    own = jax.tree.map(np.asarray, params)
    expected = [[[loop(own, q, v) for v in vs] for q in qs] for qs, vs in zip(queries, values, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_attend_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    scores, values = rng.normal(size=(2, QUERIES, PLACES)), rng.normal(size=(2, PLACES, SIZE))
    mask = rng.random((2, QUERIES, PLACES)) < 0.6
    mask[1, 0] = False
    context, weights = attend(jnp.asarray(scores), jnp.asarray(values), jnp.asarray(mask))
    expected = np.array(
        [[softmax_loop(e, m) for e, m in zip(*rows, strict=True)] for rows in zip(scores, mask, strict=True)]
    )
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    np.testing.assert_allclose(context, np.einsum("bts,bsn->btn", expected, values), rtol=1e-12)
    assert not np.any(weights[1, 0])
    assert not np.any(context[1, 0])
    sums = np.sum(weights, axis=-1)
    np.testing.assert_allclose(sums, mask.any(axis=-1).astype(float), rtol=1e-12)


def test_a_masked_nan_reaches_no_value_and_no_gradient() -> None:
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(QUERIES, PLACES)).astype(np.float32)
    values = rng.normal(size=(PLACES, SIZE)).astype(np.float32)
    mask = np.array([True, False, True, True, False])
    spoilt = np.where(mask, scores, np.nan).astype(np.float32)

    def total(scores: jax.Array, values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(attend(scores, values, jnp.asarray(mask)[None])[0]))

    clean = jax.value_and_grad(total, argnums=(0, 1))(jnp.asarray(scores), jnp.asarray(values))
    found = jax.value_and_grad(total, argnums=(0, 1))(jnp.asarray(spoilt), jnp.asarray(values))
    jax.tree.map(np.testing.assert_array_equal, found, clean)
    assert not np.any(found[1][0][:, ~mask])
    assert not np.any(found[1][1][~mask])


def test_weights_of_half_precision_are_summed_in_single() -> None:
    """4,096 equal scores: each weight is exactly 1/4096, which a sum in bfloat16 would miss by far."""
    scores, values = jnp.zeros((1, 4096), jnp.bfloat16), jnp.ones((4096, 1), jnp.bfloat16)
    context, weights = attend(scores, values)
    assert weights.dtype == jnp.float32
    np.testing.assert_array_equal(weights, 1 / 4096)
    assert float(context[0, 0]) == 1


def test_a_dot_needs_equal_sizes() -> None:
    with pytest.raises(ValueError, match="queries have 3 and values 4"):
        ScaledDot().init(jax.random.key(0), 3, 4)


def test_a_query_without_a_key_elsewhere() -> None:
    """JAX's function gives the mean of all values, as docs/attention.md says; ours zeros."""
    q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 2, 1, 4))
    nothing = jnp.zeros((1, 1, 2, 2), bool)
    theirs = jax.nn.dot_product_attention(q, k, v, mask=nothing)
    np.testing.assert_allclose(theirs[0, :, 0], jnp.broadcast_to(v[0, :, 0].mean(0), (2, 4)), rtol=1e-5)
    ours, _ = attend(q[0, :, 0] @ k[0, :, 0].T, v[0, :, 0], nothing[0, 0])
    assert not np.any(ours)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("earlier", "window"), [(0, None), (0, 40), (90, 90), (7, None)])
def test_blocks_of_queries_give_the_context_and_gradients_of_all_at_once(
    earlier: int, window: int | None
) -> None:
    steps, d = 150, 3  # three blocks
    keys = jax.random.split(jax.random.key(0), 4)
    shape = (2, 2, steps + earlier, d)
    q, k, v = (jax.random.normal(key, shape, jnp.float64) for key in keys[:3])
    q, weight = q[..., earlier:, :], jax.random.normal(keys[3], (2, 2, steps, d))
    back = earlier + jnp.arange(steps)[:, None] - jnp.arange(steps + earlier)[None]
    mask = ((back >= 0) & (back < (window or steps + earlier)))[None, None]

    def products(q: jax.Array, k: jax.Array) -> jax.Array:
        return jnp.einsum("...td,...sd->...ts", q, k)

    def whole(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.sum(weight * attend(products(q, k), v, mask)[0])

    def blocks(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return jnp.sum(weight * attend_in_blocks(products, q, k, v, mask, window))

    wanted, found = (jax.value_and_grad(f, argnums=(0, 1, 2))(q, k, v) for f in (whole, blocks))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), wanted, found)
