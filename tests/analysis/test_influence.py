"""Influence against powers of a linear net, finite differences and NumPy loops."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import (
    influence,
    influence_matrices,
    matrix_norms,
    memory_influence,
    memory_influence_matrices,
    sequence_jacobians,
)
from models import (
    GRU,
    LRU,
    LSTM,
    AttentionCell,
    Bidirectional,
    Cell,
    CrossAttention,
    Elman,
    LearnedState,
    Memory,
    Residual,
    SelfAttention,
    SelfAttentive,
    Stacked,
    unroll,
)

T, D = 6, 2
LAYERS: dict[str, Cell] = {
    "lstm": LSTM(3),
    "complex state": LRU(3),
    "stack": Stacked((GRU(3), Elman(2)), "dense"),
    "both directions": Bidirectional(Elman(2)),
    "attention": SelfAttention(4, heads=2, context=3, position="rotary"),
    "attention and recurrence": Stacked((Elman(2), Residual(SelfAttention(2, context=4)))),
    "attention to a memory": CrossAttention(4, heads=2, memory_size=2),
    "recurrence with attention": SelfAttentive(Elman(2), context=2),
}
MASK = np.array([True, True, False, True, True, False])


PLACES, VALID_PLACES = np.cos(np.arange(8.0)).reshape(4, 2), np.arange(4) != 1
READERS: dict[str, Cell] = {
    "cross-attention": CrossAttention(4, heads=2, memory_size=2),
    "recurrence": LearnedState(AttentionCell(GRU(3), memory_size=2)),
    "both directions": Bidirectional(AttentionCell(Elman(2), feed=False)),
}


def example(layer: Cell, seed: int = 3) -> tuple[dict, jax.Array]:
    params_key, inputs_key = jax.random.split(jax.random.key(seed))
    return layer.init(params_key, D), jax.random.normal(inputs_key, (T, D))


def differences(layer: Cell, params: dict, xs: jax.Array, t: int, **options: Any) -> np.ndarray:
    """∂y_t/∂x_s by central differences, `[T, N, D]`."""
    h = 1e-6
    run = jax.jit(lambda xs: unroll(layer, params, xs, **options)[1][t])
    found = [
        np.asarray(run(xs.at[s, d].add(h)) - run(xs.at[s, d].add(-h))) / (2 * h)
        for s in range(T)
        for d in range(D)
    ]
    return np.moveaxis(np.array(found).reshape(T, D, -1), 2, 1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "masked", [True, pytest.param(False, marks=pytest.mark.full)], ids=["masked", "whole"]
)
@pytest.mark.parametrize("name", LAYERS)
def test_finite_differences(name: str, masked: bool) -> None:
    layer, t = LAYERS[name], 3
    params, xs = example(layer)
    options: dict[str, Any] = {"mask": jnp.asarray(MASK)} if masked else {}
    if layer.reads_memory:
        options["memory"] = Memory(jnp.asarray(PLACES), jnp.asarray(VALID_PLACES))
    expected = differences(layer, params, xs, t, **options)
    np.testing.assert_allclose(influence_matrices(layer, params, xs, t, **options), expected, atol=1e-8)
    norms = influence(layer, params, xs, t, **options)
    np.testing.assert_allclose(norms, np.sqrt((expected**2).sum((1, 2))), atol=1e-8)
    if masked:
        assert not np.any(norms[~MASK])
    if name != "both directions":
        assert not np.any(norms[t + 1 :])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", READERS)
def test_memory_by_finite_differences(name: str) -> None:
    """∂y_t/∂m_l, zero at a masked place, whose NaN reaches nothing."""
    layer, t, h = READERS[name], 4, 1e-6
    params, xs = example(layer)
    mask = jnp.asarray(MASK)
    run = jax.jit(
        lambda values: unroll(layer, params, xs, mask=mask, memory=Memory(values, jnp.asarray(VALID_PLACES)))[
            1
        ][t]
    )
    expected = np.zeros((4, run(PLACES).size, 2))
    for place in range(4):
        for m in range(2):
            shift = np.zeros((4, 2))
            shift[place, m] = h
            ends = run(PLACES + shift), run(PLACES - shift)
            expected[place, :, m] = np.asarray(ends[0] - ends[1]) / (2 * h)
    given = Memory(jnp.where(VALID_PLACES[:, None], PLACES, jnp.nan), jnp.asarray(VALID_PLACES))
    found = memory_influence_matrices(layer, params, xs, t, given, mask=mask)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    norms = memory_influence(layer, params, xs, t, given, mask=mask)
    np.testing.assert_allclose(norms, np.sqrt((expected**2).sum((1, 2))), atol=1e-8)
    assert np.all((np.asarray(norms) > 0) == VALID_PLACES)


@pytest.mark.usefixtures("x64")
def test_through_an_encoder() -> None:
    """∂y_t/∂x_s of a decoder in the inputs of its encoder: Σ_l ∂y_t/∂m_l ∂m_l/∂x_s."""
    encoder, decoder, t = Bidirectional(Elman(2)), AttentionCell(GRU(3), memory_size=4), 3
    (read, source), (written, xs) = example(encoder), example(decoder, seed=4)

    def output(source: jax.Array) -> jax.Array:
        memory = Memory(unroll(encoder, read, source)[1], jnp.ones(T, bool))
        return unroll(decoder, written, xs, memory=memory)[1][t]

    found = sequence_jacobians(output, source)
    memory = Memory(unroll(encoder, read, source)[1], jnp.ones(T, bool))
    of_places = memory_influence_matrices(decoder, written, xs, t, memory)
    of_inputs = jax.vmap(partial(influence_matrices, encoder, read, source))(jnp.arange(T))
    expected = jnp.einsum("lnm,lsmd->snd", of_places, of_inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(matrix_norms(found), np.linalg.norm(expected, axis=(1, 2)), rtol=1e-10)


def test_memory_refusals() -> None:
    cell, given = GRU(3), Memory(jnp.asarray(PLACES), jnp.asarray(VALID_PLACES))
    params, xs = example(cell)
    with pytest.raises(ValueError, match="a memory is given, but a GRU reads none"):
        memory_influence(cell, params, xs, 2, given)
    reader = READERS["recurrence"]
    with pytest.raises(ValueError, match="t is 9, but the 6 steps"):
        memory_influence(reader, example(reader)[0], xs, 9, given)


@pytest.mark.usefixtures("x64")
def test_uniform_attention_in_closed_form() -> None:
    """L layers of x + A x, with A uniform and causal: ∂y_t/∂x_s = [(I + A)^L]_ts I."""
    depth, size = 3, 2
    layer = Stacked((Residual(SelfAttention(size)),) * depth)
    one = {
        "input": {
            "kernel": jnp.hstack([jnp.zeros((size, 2 * size)), jnp.eye(size)]),
            "bias": jnp.zeros(3 * size),
        },
        "output": {"kernel": jnp.eye(size), "bias": jnp.zeros(size)},
    }
    params = jax.tree.map(
        lambda like, leaf: leaf.reshape(like.shape),
        layer.init(jax.random.key(0), D),
        {"layers": (one,) * depth},
    )
    uniform = np.tril(np.ones((T, T))) / np.arange(1, T + 1)[:, None]
    power = np.linalg.matrix_power(np.eye(T) + uniform, depth)
    xs = example(layer)[1]
    found = jax.vmap(partial(influence_matrices, layer, params, xs))(jnp.arange(T))
    np.testing.assert_allclose(found, power[:, :, None, None] * np.eye(D), rtol=1e-12, atol=1e-14)
    norms = jax.vmap(partial(influence, layer, params, xs))(jnp.arange(T))
    np.testing.assert_allclose(norms, power * D**0.5, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_linear_net_in_closed_form() -> None:
    """y_t = Σ_s x_s W R^(t−s), so ∂y_t/∂x_s = (W R^(t−s))ᵀ; single precision keeps norms of 1e-30."""
    net = Elman(3, activation="identity")
    params, xs = example(net)
    t = 4
    powers = [np.linalg.matrix_power(np.asarray(params["recurrent"]), lag) for lag in range(t + 1)]
    expected = [(np.asarray(params["kernel"]) @ powers[t - s]).T for s in range(t + 1)]
    found = np.asarray(influence_matrices(net, params, xs, t))
    np.testing.assert_allclose(found[: t + 1], expected, rtol=1e-12)
    np.testing.assert_array_equal(influence_matrices(net, params, xs, t - T), found)
    tiny = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params | {"kernel": 1e-30 * params["kernel"]})
    norms = [1e-30 * np.linalg.norm(matrix) for matrix in expected]
    single = influence(net, tiny, xs.astype(jnp.float32), t)
    np.testing.assert_allclose(single[: t + 1], norms, rtol=1e-5)


def test_a_batch_and_all_outputs_by_vmap() -> None:
    net = GRU(3)
    params, xs = example(net)
    batch = jnp.stack([xs, 2 * xs], axis=1)
    of_net = partial(influence, net, params)
    found = jax.vmap(jax.vmap(of_net, in_axes=(None, 0)), in_axes=(1, None))(batch, jnp.arange(T))
    assert found.shape == (2, T, T)
    np.testing.assert_allclose(found[1, 2], of_net(2 * xs, 2), rtol=1e-5)
    assert not np.any(np.triu(found[0], 1))
