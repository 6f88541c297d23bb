"""Score maps against the weights of a NumPy loop, and their names in a stack."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from analysis import attention_maps, head_statistics
from models import (
    GRU,
    AttentionCell,
    CrossAttention,
    Memory,
    Residual,
    SelfAttention,
    SelfAttentive,
    Stacked,
    Transformer,
    unroll,
)
from tests.models import drawn

T, D, N = 6, 3, 4


@pytest.mark.usefixtures("x64")
def test_weights_of_a_window() -> None:
    """Each row is a softmax over the last three steps."""
    layer = SelfAttention(N, heads=2, context=3)
    params = drawn.parameters(layer, D)
    xs = np.random.default_rng(1).normal(size=(T, D))
    p = jax.tree.map(np.asarray, params["input"])
    q, k, _ = np.split(xs @ p["kernel"] + p["bias"], 3, axis=-1)
    expected = np.zeros((2, T, T))
    for h in range(2):
        part = slice(2 * h, 2 * h + 2)
        for t in range(T):
            seen = range(max(t - 2, 0), t + 1)
            exps = {s: np.exp(q[t, part] @ k[s, part] / np.sqrt(2)) for s in seen}
            for s in seen:
                expected[h, t, s] = exps[s] / sum(exps.values())
    found = attention_maps(layer, params, jnp.asarray(xs))
    assert found.keys() == {"attention"}
    np.testing.assert_allclose(found["attention"], expected, rtol=1e-11, atol=1e-15)


def test_attention_to_the_past_alone() -> None:
    """A recurrent net augmented with attention: row t sees steps t − 3 … t − 1, the first none."""
    cell = SelfAttentive(GRU(N), context=3)
    found = attention_maps(cell, drawn.parameters(cell, D), jnp.ones((T, D)))["past_attention"]
    back = np.arange(T)[:, None] - np.arange(T)[None]
    np.testing.assert_array_equal(np.asarray(found[0]) > 0, (back >= 1) & (back <= 3))
    np.testing.assert_allclose(found[0].sum(-1), [0] + [1] * (T - 1), rtol=1e-5)


def test_every_layer_has_its_name() -> None:
    """A window longer than the sequence; a memory of which one place is masked."""
    cell = Transformer(N, layers=2, heads=2, memory_size=3)
    params, xs = drawn.parameters(cell, D), jnp.ones((T, D))
    memory = Memory(jnp.ones((5, 3)), jnp.arange(5) < 4)
    found = attention_maps(cell, params, xs, memory=memory)
    shapes = {name: weights.shape for name, weights in found.items()}
    assert sorted(shapes.values()) == [(2, T, 5), (2, T, 5), (2, T, T), (2, T, T)]
    for name, weights in found.items():
        np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
        if weights.shape[-1] == 5:
            assert name.endswith("memory_attention")
            assert not np.any(weights[..., 4])
        else:
            np.testing.assert_array_equal(weights, np.tril(weights))


def test_from_a_state() -> None:
    """A decoder that has read the beginning attends as in the rows of the whole sequence from there on."""
    cell = AttentionCell(GRU(N), memory_size=3)
    params, xs = drawn.parameters(cell, D), jax.random.normal(jax.random.key(0), (T, D))
    memory = Memory(jax.random.normal(jax.random.key(1), (5, 3)), jnp.arange(5) < 4)
    state, _ = unroll(cell, params, xs[:2], memory=memory)
    whole = attention_maps(cell, params, xs, memory=memory)["memory_attention"]
    rest = attention_maps(cell, params, xs[2:], memory=memory, state=state)["memory_attention"]
    np.testing.assert_allclose(rest, whole[:, 2:], rtol=1e-5)
    assert abs(whole[:, 0] - rest[:, 0]).max() > 1e-3


def test_nothing_to_show() -> None:
    cell = GRU(N)
    with pytest.raises(ValueError, match="nothing in a GRU attends"):
        attention_maps(cell, cell.init(jax.random.key(0), D), jnp.ones((T, D)))
    encoder = SelfAttention(N, causal=False)
    with pytest.raises(ValueError, match="has no step"):
        attention_maps(encoder, encoder.init(jax.random.key(0), D), jnp.ones((T, D)))
    stack = Stacked((GRU(N), Residual(CrossAttention(N))))
    with pytest.raises(ValueError, match="reads a memory, but none is given"):
        attention_maps(stack, stack.init(jax.random.key(0), D), jnp.ones((T, D)))


def test_heads_of_known_weights() -> None:
    """Uniform weights have entropy ln S, one place none; distances by hand; disjoint heads are ln 2 apart."""
    steps, places = 4, 8
    diagonal = np.eye(places)[::2]
    uniform = np.full((steps, places), 1 / places)
    beside = np.roll(diagonal, 1, axis=1)
    found = head_statistics(np.stack([diagonal, uniform, beside]))
    np.testing.assert_allclose(found.entropy, [0, np.log(places), 0], rtol=1e-12)
    by_hand = np.mean([abs(2 * t - s) for t in range(steps) for s in range(places)])
    np.testing.assert_allclose(found.distance, [0.0, float(by_hand), 1.0], rtol=1e-12)
    assert found.divergence[0, 2] == pytest.approx(np.log(2))
    np.testing.assert_array_equal(np.diag(found.divergence), 0)


def test_divergence_is_that_of_scipy() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(5), size=(3, 4))
    by_step: Any = jensenshannon  # its stubs lack `axis`
    expected = [[np.mean(by_step(p, q, axis=-1) ** 2) for q in weights] for p in weights]
    np.testing.assert_allclose(head_statistics(weights).divergence, expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"weights have shape \[4, 5\]; expected \[heads, T, S\]"):
        head_statistics(weights[0])
