"""A masked language model beside its formulas by NumPy and SciPy; hidden places and padding."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from models import MaskedLanguageModel, Transformer, unroll

T, B, V = 7, 2, 11


@pytest.mark.slow
def test_answers_are_the_formulas() -> None:
    """From y of the layer alone; padding, NaN or another id, changes nothing."""
    model = MaskedLanguageModel(Transformer(8, layers=1, heads=2, causal=False), V, 8)
    rng = np.random.default_rng(0)
    tokens, spans = rng.integers(V + 3, size=(T, B)), rng.integers(2, size=(T, B))
    tokens, spans = jnp.asarray(tokens), jnp.asarray(spans)
    places, mask = jnp.array([[1, 4], [3, 2]]), jnp.arange(T)[:, None] < jnp.array([T, 5])[None]
    params = jax.jit(partial(model.init, method="answers"))(jax.random.key(0), tokens, spans, places)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    params = jax.tree.unflatten(
        tree, [leaf + 0.3 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )
    answers = jax.jit(partial(model.apply, method="answers"))
    outputs = jax.jit(model.apply)
    found: Any = answers(params, tokens, spans, places, mask=mask)
    own = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    xs = own["embedding"]["embedding"][tokens] + own["spans"]["embedding"][spans]
    xs = jnp.where(mask[..., None], jnp.asarray(xs, jnp.float32), jnp.nan)
    cell = params["params"]["recurrent"]["cell"]
    ys = np.asarray(unroll(model.cell, cell, xs, mask=mask)[1], np.float64)
    at = np.stack([[ys[places[p, b], b] for b in range(B)] for p in range(2)])
    hidden = at @ own["transform"]["kernel"] + own["transform"]["bias"]
    hidden = hidden * norm.cdf(hidden)
    centred = hidden - hidden.mean(-1, keepdims=True)
    hidden = (
        centred / np.sqrt(hidden.var(-1, keepdims=True) + 1e-6) * own["norm"]["scale"] + own["norm"]["bias"]
    )
    words = hidden @ own["embedding"]["embedding"][:V].T + own["bias"]
    np.testing.assert_allclose(found[0], words, rtol=2e-4, atol=2e-4)
    pooled = np.tanh(ys[0] @ own["pool"]["kernel"] + own["pool"]["bias"])
    following = pooled @ own["follows"]["kernel"] + own["follows"]["bias"]
    np.testing.assert_allclose(found[1], following, rtol=2e-4, atol=2e-4)
    others = jnp.where(mask, tokens, 5)
    again: Any = answers(params, others, spans, places, mask=mask)
    np.testing.assert_allclose(again[0], found[0], rtol=1e-6)
    alone: Any = outputs(params, tokens, mask=mask)
    first: Any = outputs(params, tokens, jnp.zeros_like(spans), mask=mask)
    np.testing.assert_allclose(alone, first, rtol=1e-5, atol=1e-6)
