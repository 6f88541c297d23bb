"""Self-attention against a NumPy loop, its cache, its positions and its padding."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.contract import checks as contract
from models import Cell, KeyValueCache, SelfAttention, stream, unroll
from models.cell import Array, Params
from models.layers import attention
from models.layers.position import rotate
from tests.contract import each_check
from tests.models import drawn
from tests.models.layers.attention_loop import self_attention

T, B, D, N = 7, 2, 3, 4
MASK = np.array([[1, 0], [1, 1], [0, 1], [1, 1], [1, 0], [0, 1], [1, 1]], bool)
LAYERS = {
    "plain": SelfAttention(N, heads=2, context=16),
    "rotary window": SelfAttention(N, heads=2, context=3, position="rotary"),
    "learned": SelfAttention(N, context=7, position="learned"),
    "sinusoidal": SelfAttention(N, heads=4, context=8, position="sinusoidal"),
    "encoder": SelfAttention(N, heads=2, context=2, causal=False, position="rotary"),
}
CAUSAL = ("rotary window", "plain")


@pytest.fixture(scope="module", autouse=True)
def short_blocks() -> Iterator[None]:
    """Takes blocks of three queries, so that the few steps of these tests are several blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "BLOCK", 3)
        yield


def example(layer: SelfAttention, seed: int = 0) -> tuple[Params, Array]:
    """Parameters with biases that aren't zero, and inputs `[T, B, D]`."""
    xs = np.random.default_rng(seed).normal(size=(T, B, D))
    return drawn.parameters(layer, D, seed), jnp.asarray(xs)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.usefixtures("x64")
def test_equations(name: str, reverse: bool) -> None:
    """With holes, in both directions: in reverse the loop reads the sequence turned round."""
    layer = LAYERS[name]
    params, xs = example(layer)
    _, ys = unroll(layer, params, xs, mask=jnp.asarray(MASK), reverse=reverse)
    turn = slice(None, None, -1) if reverse else slice(None)
    for b in range(B):
        loop = self_attention(layer, params, np.asarray(xs[turn, b]), MASK[turn, b])
        np.testing.assert_allclose(ys[:, b], loop[turn], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.usefixtures("x64")
def test_segments_and_single_steps_are_the_whole(name: str) -> None:
    """Carried over segments, masked ones among them, outputs and final cache are those of the whole sequence."""
    layer = LAYERS[name]
    params, xs = example(layer)
    mask = jnp.asarray(MASK)
    final, ys = unroll(layer, params, xs, mask=mask)
    state, parts = None, []
    for piece in (slice(0, 1), slice(1, 4), slice(4, 7)):
        state, part = unroll(layer, params, xs[piece], state, mask=mask[piece])
        parts.append(part)
    np.testing.assert_allclose(jnp.concatenate(parts), ys, rtol=1e-11, atol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), state, final)

    online = stream(layer, params)
    for b in range(B):
        one = online.initial_state
        for t in np.flatnonzero(MASK[:, b]):
            one, y = online.step(one, xs[t, b])
            np.testing.assert_allclose(y, ys[t, b], rtol=1e-11, atol=1e-12)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12),
            one,
            jax.tree.map(lambda leaf, b=b: leaf[b], final),
        )


@pytest.mark.parametrize("name", ["rotary window", "learned", "sinusoidal"])
def test_padding_anywhere_is_the_same(name: str) -> None:
    """Left, right and inner padding give the outputs and the cache of the valid steps alone."""
    layer = LAYERS[name]
    params, xs = example(layer)
    short_final, short = unroll(layer, params, xs[:4])
    for places in ([0, 1, 2, 3], [3, 4, 5, 6], [0, 2, 3, 6]):
        padded = jnp.full(xs.shape, jnp.nan, xs.dtype).at[jnp.array(places)].set(xs[:4])
        mask = jnp.zeros((T, B), bool).at[jnp.array(places)].set(True)
        final, ys = unroll(layer, params, padded, mask=mask)
        np.testing.assert_allclose(ys[jnp.array(places)], short, atol=1e-5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), final, short_final)


@pytest.mark.parametrize("name", CAUSAL)
def test_the_future_leaves_the_past_bitwise_equal(name: str) -> None:
    layer = LAYERS[name]
    params, xs = example(layer)
    ys = unroll(layer, params, xs)[1]
    for t in range(1, T):
        other = unroll(layer, params, xs.at[t:].add(1000.0))[1]
        np.testing.assert_array_equal(other[:t], ys[:t])
        assert np.all(np.any(other[t:] != ys[t:], axis=-1))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_number_that_is_not_finite_reaches_those_who_see_it(reverse: bool) -> None:
    """NaN or an infinity at a valid step: earlier outputs are bitwise equal, those that see it NaN, as step by
    step, and those whose window has passed it finite; carried in the cache too."""
    layer = LAYERS["rotary window"]
    params, xs = example(layer)
    order = slice(None, None, -1) if reverse else slice(None)
    clean = unroll(layer, params, xs, reverse=reverse)[1][order]
    for bad in (jnp.nan, jnp.inf):
        spoilt = xs[order].at[2, 0, 1].set(bad)
        ys = unroll(layer, params, spoilt[order], reverse=reverse)[1][order]
        np.testing.assert_array_equal(ys[:2], clean[:2])
        np.testing.assert_array_equal(ys[:, 1], clean[:, 1])  # the other example
        np.testing.assert_array_equal(np.isnan(ys[:, 0]).all(-1), (np.arange(T) >= 2) & (np.arange(T) < 5))
        np.testing.assert_array_equal(ys[5:], clean[5:])
        state, _ = unroll(layer, params, spoilt[:3])
        rest = unroll(layer, params, spoilt[3:], state)[1]
        np.testing.assert_allclose(rest, ys[3:], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(stream(layer, params, (B,)).step(state, spoilt[3])[1], ys[3], atol=1e-6)


def test_a_value_that_overflows_shows() -> None:
    """Its key is finite, and it isn't taken for zero."""
    layer = LAYERS["plain"]
    params, xs = example(layer)
    bias = params["input"]["bias"].at[-1].set(jnp.inf)
    ys = unroll(layer, params | {"input": params["input"] | {"bias": bias}}, xs)[1]
    assert not np.isfinite(ys).any()


@pytest.mark.usefixtures("x64")
def test_a_full_cache_forgets_the_oldest_key() -> None:
    """An output depends on exactly the last `context` inputs, whole or carried."""
    layer = LAYERS["rotary window"]
    params, xs = example(layer)
    seen = jax.jacrev(lambda xs: unroll(layer, params, xs)[1][:, 0])(xs)[..., 0, :]  # [T, N, T, D]
    depends = np.abs(np.asarray(seen)).max(axis=(1, 3)) > 0
    back = np.arange(T)[:, None] - np.arange(T)[None]
    np.testing.assert_array_equal(depends, (back >= 0) & (back < layer.context))


@pytest.mark.usefixtures("x64")
def test_rotary_positions_are_relative() -> None:
    """A shift of all positions changes no product of a query and a key, and no output of a carried cache."""
    q, k = jax.random.normal(jax.random.key(0), (2, 6))
    products = [rotate(q, jnp.array(5 + n)) @ rotate(k, jnp.array(2 + n)) for n in (0, 1, 100)]
    np.testing.assert_allclose(products, products[0], rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_without_positions_an_encoder_is_equivariant() -> None:
    """Permuted inputs give permuted outputs."""
    layer = SelfAttention(N, heads=2, causal=False)
    params, xs = example(layer)
    order = jnp.array([3, 0, 6, 2, 5, 1, 4])
    state, ys = unroll(layer, params, xs)
    assert state == ()
    np.testing.assert_allclose(unroll(layer, params, xs[order])[1], ys[order], rtol=1e-12, atol=1e-12)


def test_codes_end_with_the_context() -> None:
    layer = LAYERS["learned"]
    params, xs = example(layer)
    with pytest.raises(ValueError, match="learned codes for 7 positions, but the sequence has 8 steps"):
        unroll(layer, params, jnp.concatenate([xs, xs[:1]]))
    state, ys = unroll(layer, params, xs)
    assert np.isfinite(ys).all()
    _, beyond = unroll(layer, params, xs[:1], state)
    assert np.isnan(beyond).all()


def test_the_cache() -> None:
    """Newest last, zeros before; the count goes on when the cache is full."""
    layer = LAYERS["rotary window"]
    params, xs = example(layer)
    cache, _ = unroll(layer, params, xs[:2])
    assert isinstance(cache, KeyValueCache)
    assert cache.keys.shape == (B, layer.heads, layer.context, N // layer.heads)
    assert not np.any(cache.keys[..., 0, :])
    assert np.all(np.any(cache.keys[..., 1:, :] != 0, axis=-1))
    cache, _ = unroll(layer, params, xs, cache)
    np.testing.assert_array_equal(cache.steps, [T + 2] * B)


def test_dropout_falls_on_the_weights_in_training() -> None:
    """In expectation the outputs are those without it; a step refuses."""
    layer = SelfAttention(N, heads=2, dropout=0.5)
    params, xs = example(layer)
    exact = unroll(layer, params, xs)[1]
    keys = jax.random.split(jax.random.key(3), 500)
    drawn = jax.jit(jax.vmap(lambda key: unroll(layer, params, xs, key=key, train=True)[1]))(keys)
    spread = np.std(drawn, axis=0, ddof=1) / np.sqrt(len(keys))
    assert np.all(np.abs(np.mean(drawn, axis=0) - exact) < 5 * spread + 1e-5)
    np.testing.assert_array_equal(unroll(layer, params, xs, key=keys[0])[1], exact)
    with pytest.raises(ValueError, match="a single step can't"):
        layer.prepare(params, train=True)
    with pytest.raises(ValueError, match="dropout in training needs a key"):
        unroll(layer, params, xs, train=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SelfAttention(6, heads=4), "4 don't divide 6"),
        (lambda: SelfAttention(6, heads=2, position="rotary"), "a head has 3 numbers, an odd number"),
        (lambda: SelfAttention(4, context=0), "context must be a whole number of at least 1, but is 0"),
        (lambda: SelfAttention(4, dropout=1.0), "at least 0 and below 1"),
    ],
)
def test_wrong_options(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()  # pyright: ignore[reportCallIssue]


def test_a_method_is_refused() -> None:
    layer = LAYERS["plain"]
    params, xs = example(layer)
    with pytest.raises(ValueError, match="keep a cache for every step"):
        unroll(layer, params, xs, method="scan")


@pytest.mark.slow
@each_check({"rotary": SelfAttention(4, heads=2, context=3, position="rotary")})
@pytest.mark.usefixtures("quick_compilation")
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.full
@pytest.mark.parametrize("check", contract.CHECKS)
@pytest.mark.parametrize("position", ["none", "learned", "sinusoidal"])
@pytest.mark.usefixtures("quick_compilation")
def test_contract_at_other_positions(position: Any, check: str) -> None:
    contract.run(contract.CHECKS[check], SelfAttention(4, context=8, position=position))
