"""The Transformer against a NumPy loop, its parts, its memory, and as a cell among others."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.contract import checks as contract
from models import (
    CELLS,
    GRU,
    LSTM,
    Bidirectional,
    Cell,
    CrossAttention,
    FeedForward,
    LearnedState,
    Memory,
    Norm,
    PositionCode,
    Residual,
    SelfAttention,
    Stacked,
    Transformer,
    holds_cache,
    stream,
    unroll,
)
from models.cell import Array, Params
from tests.contract import each_check
from tests.models import drawn
from tests.models.layers.attention_loop import code, cross_attention, feed_forward, layer_norm, self_attention

T, B, D, N, L, M = 6, 2, 3, 4, 5, 3
MASK = np.array([[1, 0], [1, 1], [0, 1], [1, 1], [1, 0], [0, 1]], bool)
MEMORY_MASK = np.array([[1, 0], [1, 0], [0, 0], [1, 0], [1, 0]], bool)  # nothing to look at for the second
TRANSFORMERS = {
    "pre": Transformer(N, layers=2, heads=2, context=3, feed_forward=5),
    "post": Transformer(N, layers=2, norm="post", position="learned", context=T, activation="relu"),
    "encoder": Transformer(N, layers=1, position="sinusoidal", context=T, causal=False),
    "decoder": Transformer(N, layers=2, memory_size=M, context=4, position="none"),
}


def example(layer: Cell, input_size: int = D) -> tuple[Params, Array]:
    """Parameters none of which is special, and inputs `[T, B, D]`."""
    xs = np.random.default_rng(0).normal(size=(T, B, input_size))
    return drawn.parameters(layer, input_size), jnp.asarray(xs)


def memory() -> Memory:
    """L places of which some hold NaN."""
    values = np.random.default_rng(1).normal(size=(L, B, M))
    return Memory(jnp.asarray(np.where(MEMORY_MASK[..., None], values, np.nan)), jnp.asarray(MEMORY_MASK))


def run_loop(
    layer: Any, params: Any, xs: np.ndarray, mask: np.ndarray, places: list[np.ndarray]
) -> np.ndarray:
    """One sequence `[T, D]` through any of the layers, from the equations of their docstrings."""
    match layer:
        case Transformer():
            return run_loop(layer.stack, params, xs, mask, places)
        case Stacked():
            for part, own in zip(layer.layers, params["layers"], strict=True):
                xs = run_loop(part, own, xs, mask, places)
            return xs
        case Residual():
            return (xs + run_loop(layer.layer, params, xs, mask, places)) * mask[:, None]
        case SelfAttention():
            return self_attention(layer, params, xs, mask)
        case CrossAttention():
            return cross_attention(layer, params, xs, mask, places)
        case Norm():
            return layer_norm(params, xs) * mask[:, None]
        case FeedForward():
            return feed_forward(layer.activation, params, xs) * mask[:, None]
    if type(layer).__name__ == "Projection":
        return (xs @ np.asarray(params["kernel"]) + np.asarray(params["bias"])) * mask[:, None]
    # A position code.
    ys = np.zeros(xs.shape)
    for position, t in enumerate(np.flatnonzero(mask)):
        learned = np.asarray(params["codes"])[position] if layer.position == "learned" else None
        ys[t] = xs[t] + (code(position, xs.shape[1]) if learned is None else learned)
    return ys


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.usefixtures("x64")
def test_equations(name: str) -> None:
    """Every part of it, with holes in the sequence and in the memory."""
    layer = TRANSFORMERS[name]
    params, xs = example(layer)
    ys = unroll(layer, params, xs, mask=jnp.asarray(MASK), memory=memory() if layer.reads_memory else None)[1]
    assert np.isfinite(ys).all()
    for b in range(B):
        places = [np.asarray(memory().values[s, b]) for s in range(L) if MEMORY_MASK[s, b]]
        loop = run_loop(layer, params, np.asarray(xs[:, b]), MASK[:, b], places)
        np.testing.assert_allclose(ys[:, b], loop, rtol=1e-10, atol=1e-11)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_a_decoder_steps_with_a_memory() -> None:
    """Streaming = the whole, in outputs and in the gradient of the memory, which a masked place never gets."""
    layer = TRANSFORMERS["decoder"]
    params, xs = example(layer)

    def whole(memory: Memory) -> Array:
        return jnp.sum(jnp.sin(unroll(layer, params, xs, memory=memory)[1]))

    def stepped(memory: Memory) -> Array:
        online = stream(layer, params, (B,), memory=memory)
        return jnp.sum(jnp.sin(jax.lax.scan(online.step, online.initial_state, xs)[1]))

    found, by_steps = (jax.jit(jax.value_and_grad(f, allow_int=True))(memory()) for f in (whole, stepped))
    np.testing.assert_allclose(found[0], by_steps[0], rtol=1e-11)
    np.testing.assert_allclose(found[1].values, by_steps[1].values, rtol=1e-10, atol=1e-12)
    assert not np.any(found[1].values[~MEMORY_MASK])
    assert np.any(found[1].values[MEMORY_MASK])


def test_an_input_of_its_own_size_is_not_projected() -> None:
    layer = TRANSFORMERS["pre"]
    own, other = (
        jax.eval_shape(lambda size=size: layer.init(jax.random.key(0), size))["layers"][0] for size in (N, D)
    )
    assert own == {}
    assert other["kernel"].shape == (D, N)


def test_layers_of_both_kinds_in_one_stack() -> None:
    """A stack of an LSTM, attention and a GRU steps; two encoders make a bidirectional layer of it."""
    stack = Stacked((LSTM(N), Residual(SelfAttention(N, heads=2, context=T)), GRU(N)))
    params, xs = example(stack)
    online = stream(stack, params, (B,))
    ys = jax.lax.scan(online.step, online.initial_state, xs)[1]
    np.testing.assert_allclose(unroll(stack, params, xs)[1], ys, atol=1e-5)
    both = Bidirectional(stack)
    params, xs = example(both)
    assert unroll(both, params, xs)[1].shape == (T, B, 2 * N)


def test_which_states_are_caches() -> None:
    assert holds_cache(Transformer(N))
    assert holds_cache(Stacked((LSTM(N), SelfAttention(N))))
    assert holds_cache(Residual(SelfAttention(2 * N)))
    assert not holds_cache(Stacked((LSTM(N), Residual(Norm()))))
    assert not holds_cache(Transformer(N, causal=False))
    assert CELLS["transformer"] is Transformer


@pytest.mark.parametrize(
    ("layer", "given", "message"),
    [
        (LSTM(N), memory(), "a LSTM reads none"),
        (Stacked((LSTM(N), GRU(N))), memory(), "a Stacked reads none"),
        (TRANSFORMERS["decoder"], None, "a Transformer reads a memory, but none is given"),
        (TRANSFORMERS["decoder"], Memory(memory().values[..., :2], memory().mask), r"\[2, 3\]"),
        (TRANSFORMERS["decoder"], Memory(memory().values[:, :1], memory().mask[:, :1]), r"\[2, 3\]"),
        (TRANSFORMERS["decoder"], Memory(memory().values, memory().mask[:2]), "mask must be boolean"),
    ],
)
def test_memory_that_does_not_fit(layer: Cell, given: Memory | None, message: str) -> None:
    params, xs = example(layer)
    with pytest.raises(ValueError, match=message):
        unroll(layer, params, xs, memory=given)


@pytest.mark.parametrize(
    "layer", [Norm(), FeedForward(5), PositionCode(context=T), SelfAttention(N, causal=False), Transformer(N)]
)
def test_what_is_given_is_checked_at_the_door(layer: Cell) -> None:
    """A mask on the batch axis, a state of another batch, inputs of another type: else numbers, and wrong ones."""
    params, xs = example(layer, N)
    square = jnp.ones((T, T, N), xs.dtype)
    with pytest.raises(ValueError, match=r"the mask must be an array \[T, \*batch\]"):
        unroll(layer, params, square, mask=jnp.ones(T, bool))
    with pytest.raises(ValueError, match=r"the state given to|must be a tuple with one entry"):
        unroll(layer, params, xs, (jnp.zeros(3),))
    with pytest.raises(ValueError, match=r"cast one of them, for example xs.astype\('float32'\)"):
        unroll(layer, params, xs.astype(jnp.bfloat16))


def test_an_empty_cache_is_not_learned() -> None:
    with pytest.raises(ValueError, match="since it is an empty cache"):
        LearnedState(SelfAttention(N)).init(jax.random.key(0), D)


def test_layers_that_read_memories_of_two_sizes() -> None:
    with pytest.raises(ValueError, match="expect different sizes of it: 2, 3"):
        Stacked((CrossAttention(N, memory_size=2), CrossAttention(N, memory_size=3)))


def test_a_residual_connection_needs_one_size() -> None:
    with pytest.raises(ValueError, match="input size 3 and output size 4"):
        Residual(LSTM(N)).init(jax.random.key(0), D)


@pytest.mark.slow
@each_check({"transformer": Transformer(4, context=8)})
@pytest.mark.usefixtures("quick_compilation")
def test_contract(cell: Cell, check: Callable[[Cell], None]) -> None:
    contract.run(check, cell)


@pytest.mark.full
@pytest.mark.parametrize("check", contract.CHECKS)
@pytest.mark.parametrize(
    "cell",
    [
        Stacked((LSTM(4), Residual(SelfAttention(4, heads=2, context=8)), GRU(4))),
        Transformer(4, context=3, layers=1, heads=1),
        Transformer(4, context=8, position="learned", norm="post", layers=1),
    ],
    ids=["mixed", "window", "learned post"],
)
@pytest.mark.usefixtures("quick_compilation")
def test_contract_of_variants(cell: Cell, check: str) -> None:
    contract.run(contract.CHECKS[check], cell)
