"""Self-attention gives the outputs and gradients of Flax Linen's, with the same weights and masks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from models import SelfAttention, unroll
from models.cell import Array
from tests.models import drawn

T, B, N, HEADS = 5, 2, 6, 3
VALID = jnp.asarray(np.arange(T)[:, None] < np.array([5, 3]))


def linen_params(params: Any) -> Any:
    """Our parameters as Linen keeps them: each head by itself."""
    parts = zip(
        ("query", "key", "value"),
        jnp.split(params["input"]["kernel"], 3, axis=-1),
        jnp.split(params["input"]["bias"], 3),
        strict=True,
    )
    cut = {name: {"kernel": w.reshape(N, HEADS, -1), "bias": b.reshape(HEADS, -1)} for name, w, b in parts}
    output = params["output"]
    return cut | {"out": {"kernel": output["kernel"].reshape(HEADS, -1, N), "bias": output["bias"]}}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.usefixtures("x64")
def test_agrees(causal: bool) -> None:
    """At valid steps of sequences that are padded on the right, where no query is without a key."""
    layer = SelfAttention(N, HEADS, context=T, causal=causal)
    linen = nn.MultiHeadDotProductAttention(HEADS, param_dtype=jnp.float64)
    params = drawn.parameters(layer, N, scale=0.5)
    xs = jnp.asarray(np.random.default_rng(2).normal(size=(T, B, N)))
    weights = jnp.where(VALID[..., None], jnp.cos(jnp.arange(T * B * N)).reshape(T, B, N), 0)

    def ours(params: Any, xs: Array) -> Array:
        return jnp.sum(weights * unroll(layer, params, xs, mask=VALID)[1])

    def theirs(params: Any, xs: Array) -> Array:
        seen = VALID.T[:, None, None] & (jnp.tril(jnp.ones((1, 1, T, T), bool)) | (not causal))
        given: Any = linen.apply({"params": linen_params(params)}, xs.swapaxes(0, 1), mask=seen)
        return jnp.sum(weights * given.swapaxes(0, 1))

    found, expected = (jax.jit(jax.value_and_grad(f, argnums=(0, 1)))(params, xs) for f in (ours, theirs))
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12, err_msg=jax.tree_util.keystr(path))
