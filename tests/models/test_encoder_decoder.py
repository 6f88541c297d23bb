"""Encoder–decoders: every token by itself gives what the whole gives, whatever the padding; bridges; decoding."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from models import (
    GRU,
    LSTM,
    Additive,
    AttentionCell,
    AttentionReadout,
    Bidirectional,
    Dense,
    EncoderDecoder,
    FedContext,
    LSTMState,
    Stacked,
    TokenReader,
    TokenWriter,
    Transformer,
    decoder_step,
    free_running,
    sampled,
    scheduled_targets,
    teacher_forcing,
    unroll,
)
from models.cell import Cell
from models.decoding.steps import encode, start, step
from models.language_model import uniform_like
from models.readers import LinearReader

V, W, E, L, T, B, END = 7, 6, 4, 5, 4, 3, 1
SOURCE = np.arange(L)[:, None] < np.array([5, 2, 3])
TARGET = np.arange(T)[:, None] < np.array([2, 4, 1])


def transformer(**options: Any) -> Transformer:
    return Transformer(E, 1, 2, 8, **options)


Parts = tuple[Cell, Cell, Any, Any]
SYSTEMS: dict[str, Parts] = {
    "attention": (
        Bidirectional(GRU(3)),
        Stacked((AttentionCell(GRU(4), Additive(3), memory_size=6), Dense(E))),
        "state",
        {"tied": True},
    ),
    "transformer": (
        transformer(causal=False, position="sinusoidal"),
        transformer(memory_size=E, position="learned", norm="post"),
        "none",
        {"tied": True, "scale": True},
    ),
    "fixed context": (Stacked((GRU(3), GRU(2))), Stacked((GRU(3), GRU(4))), "state", {}),
    "fed context": (Bidirectional(LSTM(2)), FedContext(LSTM(3), 4, "ends"), "state", {}),
    "attention on the outputs": (
        Stacked((Bidirectional(LSTM(2)), LSTM(3))),
        Stacked((LSTM(3), AttentionReadout(3), Dense(3))),
        "mean",
        {},
    ),
    "transformer, then recurrent": (
        transformer(causal=False),
        FedContext(AttentionCell(GRU(3), memory_size=E), E, "mean"),
        "mean",
        {},
    ),
    "recurrent, then transformer": (Bidirectional(GRU(2)), transformer(memory_size=4), "none", {}),
}


def make(parts: Parts, **options: Any) -> tuple[EncoderDecoder, Any]:
    """A model and parameters of which none is zero."""
    encoder, decoder, bridge, writing = parts
    writer = TokenWriter(W, E, end=END, **writing)
    model = EncoderDecoder(encoder, decoder, TokenReader(V, E), writer, bridge=bridge, **options)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 1), int)))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return model, uniform_like(zeros, jax.random.key(1), 0.7)


def pairs() -> tuple[jax.Array, jax.Array]:
    """Sources `[L, B]` and targets `[T, B]`."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.integers(0, V, (L, B))), jnp.asarray(rng.integers(0, W, (T, B)))


def close(found: Any, expected: Any, tolerance: float = 1e-11) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), found, expected
    )


IN_CI = ("transformer",)


@pytest.mark.parametrize(
    "name", [name if name in IN_CI else pytest.param(name, marks=pytest.mark.full) for name in SYSTEMS]
)
@pytest.mark.usefixtures("x64", "quick_compilation")
def test_token_by_token_and_padding(name: str) -> None:
    """Logits of steps are those of the whole, the losses those of these logits; and with padding within and
    around, of ids that don't exist and NaN in place of their vectors, losses and gradients are those of each
    pair alone."""
    model, params = make(SYSTEMS[name])
    inputs, targets = pairs()

    def losses(params: Any, inputs: Any, targets: Any, mask: Any, target_mask: Any) -> tuple[Any, Any]:
        vectors: Any = model.apply(params, inputs, mask=mask, method="read")
        vectors = vectors if mask is None else jnp.where(mask[..., None], vectors, jnp.nan)
        encoded: Any = model.apply(params, vectors, mask=mask, method="encode_vectors")
        found: Any = model.apply(params, encoded, targets, target_mask=target_mask, method="losses_of")
        weights, state = start(model, params, encoded)
        fed = model.writer.shifted(targets, target_mask)
        if target_mask is not None:
            fed = jnp.where(target_mask, fed, 0)
        return jnp.sum(found), (found, state, weights, fed)

    differentiate = jax.jit(jax.grad(losses, has_aux=True))
    spread, target_spread = np.array([1, 2, 4, 5, 6]), np.array([0, 2, 3, 5])
    mask, target_mask = np.zeros((8, B), bool), np.zeros((7, B), bool)
    mask[spread], target_mask[target_spread] = SOURCE, TARGET
    wide, wide_targets = np.full((8, B), 10**6), np.full((7, B), -5)
    wide[spread], wide_targets[target_spread] = inputs, targets
    wide[~mask], wide_targets[~target_mask] = 10**6, -5
    given = jnp.asarray(wide), jnp.asarray(wide_targets), jnp.asarray(mask)
    padded, (found, *_) = differentiate(params, *given, jnp.asarray(target_mask))
    assert not np.any(found[~target_mask])
    b = 1  # the source of 2 and the target of 4 tokens
    alone, (expected, state, weights, fed) = differentiate(params, inputs[:2, b], targets[:, b], None, None)
    close(found[target_spread, b], expected)
    others = jnp.asarray(target_mask & (np.arange(B) != b))
    close(jax.tree.map(jnp.add, alone, differentiate(params, *given, others)[0]), padded)
    run = jax.jit(lambda weights, *given: teacher_forcing(partial(step, model, weights), *given)[1])
    stepped = jax.nn.log_softmax(run(weights, state, fed))
    close(-np.take_along_axis(np.asarray(stepped), np.asarray(targets)[:, b, None], -1)[:, 0], expected)


@pytest.mark.usefixtures("x64", "quick_compilation")
def test_hypotheses_share_the_memory() -> None:
    """A step over several hypotheses of each source, by `vmap` with one memory: each as if alone."""
    model, params = make(SYSTEMS["attention"])
    inputs, _ = pairs()
    weights, state = jax.jit(
        lambda: start(model, params, encode(model, params, inputs, jnp.asarray(SOURCE)))
    )()
    width = 2
    tokens = jax.random.randint(jax.random.key(3), (2, B, width), 0, W)
    wide = jax.tree.map(lambda leaf: jnp.stack([leaf] * width, axis=1), state)
    single = jax.jit(partial(step, model, weights))
    together = jax.jit(jax.vmap(partial(step, model, weights), in_axes=1, out_axes=1))
    (first, second), alone = tokens, [state] * width
    wide, _ = together(wide, first)
    _, logits = together(wide, second)
    for i in range(width):
        alone[i], _ = single(alone[i], first[:, i])
        close(logits[:, i], single(alone[i], second[:, i])[1])


@pytest.mark.usefixtures("quick_compilation")
def test_sampled_inputs() -> None:
    """With probability 0 the true inputs, with 1 what the model draws itself; the loss takes them as they are,
    and is the sum of the tokens' losses."""
    model, params = make(SYSTEMS["fixed context"])
    (inputs, targets), key, mask = pairs(), jax.random.key(4), jnp.asarray(SOURCE)

    @jax.jit
    def run(probability: jax.Array) -> Any:
        fed = scheduled_targets(model, params, inputs, targets, key, probability, mask=mask)
        advance, state = decoder_step(model, params, inputs, mask)
        free = free_running(advance, state, fed[0], T, sampled, key=key)[1]
        return fed, free, model.apply(params, inputs, targets, mask=mask, fed=fed, method="loss")

    true, free, (total, count) = run(jnp.zeros(B))
    np.testing.assert_array_equal(true, model.writer.shifted(targets))
    assert count == T * B
    own, _, (other, _) = run(jnp.ones(B))
    drawn = [sampled(z, k) for z, k in zip(free, jax.random.split(key, T), strict=True)]
    np.testing.assert_array_equal(own[1:], drawn[:-1])
    losses: Any = jax.jit(lambda: model.apply(params, inputs, targets, mask=mask, method="token_losses"))()
    np.testing.assert_allclose(jnp.sum(losses), total, rtol=1e-6)
    assert abs(other - total) > 1e-3


@pytest.mark.usefixtures("quick_compilation")
def test_bridges() -> None:
    """Copied where the sizes agree, else tanh(g W + b) of the state at the same place, of both directions, of all
    states where the numbers differ, or of the mean."""
    inputs = jnp.asarray(np.random.default_rng(1).normal(size=(L, B, E)), jnp.float32)
    mask = jnp.asarray(SOURCE)

    def cross(encoder: Cell, decoder: Cell, bridge: Any) -> tuple[Any, Any, Any]:
        model, params = make((encoder, decoder, bridge, {}))
        encoded: Any = jax.jit(lambda: model.apply(params, inputs, mask=mask, method="encode_vectors"))()
        final, values = unroll(encoder, params["params"]["encoder"], inputs, mask=mask)
        close(encoded.memory.values, values, 1e-5)
        mapped = params["params"]["bridge"]
        maps = [lambda g, own=own: jnp.tanh(g @ own["kernel"] + own["bias"][None]) for own in mapped if own]
        return encoded.state, (final, values), maps

    state, (final, _), maps = cross(LSTM(3), LSTM(3), "state")
    assert not maps
    close(state, final, 1e-5)
    state, (final, _), maps = cross(Bidirectional(LSTM(2)), LSTM(3), "state")
    both = jax.tree.map(lambda f, b: jnp.concatenate([f, b], axis=-1), *final)
    close(state, LSTMState(*(own(g) for own, g in zip(maps, both, strict=True))), 1e-5)
    state, (final, _), maps = cross(GRU(3), Stacked((GRU(3), AttentionCell(GRU(2), memory_size=3))), "state")
    close(state[0], maps[0](final), 1e-5)
    close(state[1].inner, maps[1](final), 1e-5)
    assert not np.any(state[1].context)
    state, (_, values), maps = cross(transformer(causal=False), GRU(E), "mean")
    mean = jnp.stack([values[:n, b].mean(0) for b, n in enumerate(SOURCE.sum(0))])
    close(state, maps[0](mean), 1e-5)


def test_embeddings_and_shifts() -> None:
    """Tied and shared embeddings are one array; a gap in the targets is stepped over."""
    sizes = EncoderDecoder(GRU(3), GRU(E), TokenReader(W, E), TokenWriter(W, E, tied=True), shared=True)
    shapes: Any = jax.eval_shape(lambda: sizes.init(jax.random.key(0), jnp.zeros((1, 1), int)))["params"]
    assert list(shapes["reader"]) == ["embedding"]
    assert list(shapes["writer"]) == ["bias"]
    writer, targets = TokenWriter(9, E, end=END), jnp.arange(2, 6)[:, None]
    assert writer.shifted(targets)[:, 0].tolist() == [END, 2, 3, 4]
    mask = jnp.array([[False], [True], [False], [True]])
    assert writer.shifted(targets, mask)[jnp.array([1, 3]), 0].tolist() == [END, 3]
    reader = TokenReader(9, E, scale=True)
    params = reader.init(jax.random.key(0))
    np.testing.assert_allclose(reader(params, jnp.array(3)), 2 * params["embedding"][3])


@pytest.mark.full
def test_dropout_falls_in_training_alone() -> None:
    model, params = make(SYSTEMS["fixed context"], dropout=0.5)
    (inputs, targets), rngs = pairs(), {"dropout": jax.random.key(0)}
    run = jax.jit(
        lambda train: model.apply(params, inputs, targets, train=train, rngs=rngs, method="loss")[0],  # type: ignore
        static_argnums=0,
    )
    losses: Any = jax.jit(lambda: model.apply(params, inputs, targets, method="token_losses"))()
    np.testing.assert_allclose(run(False), jnp.sum(losses), rtol=1e-6)
    assert abs(run(True) - run(False)) > 1e-3


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As a user has it: without the suite's own check of annotations, which would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_refusals() -> None:
    def refused(said: str, *parts: Cell, reader: Any = None, writer: Any = None, **options: Any) -> None:
        reader = TokenReader(V, E) if reader is None else reader
        given: tuple[Any, ...] = (*parts, reader, writer or TokenWriter(W, E))
        model = EncoderDecoder(*given, **options)
        with pytest.raises(ValueError, match=said):
            jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 1), int)))

    attention = AttentionCell(GRU(3))
    refused("knows the future, so it has no step", GRU(3), Bidirectional(GRU(3)))
    refused("reads a memory of size 3, but the outputs of the encoder have 4", GRU(4), attention)
    refused("an encoder has no memory to read, but a AttentionCell wants one", attention, GRU(3))
    refused("nothing of the source reaches the decoder", GRU(3), GRU(3), bridge="none")
    refused("unknown bridge 'last'", GRU(3), GRU(3), bridge="last")
    refused("this encoder carries none: take bridge='mean'", transformer(causal=False), GRU(3))
    refused("this decoder carries none but caches: take bridge='none'", GRU(E), transformer(memory_size=E))
    refused("end the decoder with Dense", GRU(3), GRU(3), writer=TokenWriter(W, E, tied=True))
    refused("the writer takes \\[6, 4\\] and the reader has \\[7, 4\\]", GRU(3), GRU(3), shared=True)
    with pytest.raises(ValueError, match="end is the id of the end mark, one of 0 … 5, but is 6"):
        TokenWriter(W, E, end=6)
    with pytest.raises(ValueError, match="unknown summary 'first'"):
        FedContext(GRU(3), 3, "first")  # type: ignore
    with pytest.raises(ValueError, match="memory_size is 3: give both one size"):
        FedContext(AttentionCell(GRU(4)), 3)
    with pytest.raises(ValueError, match="score must be a score, such as General"):
        AttentionReadout(3, "dot")  # type: ignore


def test_linear_reader() -> None:
    reader = LinearReader(3, 5)
    params = reader.init(jax.random.key(0))
    params = params | {"bias": jnp.arange(5.0)}
    inputs = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    expected = np.einsum("lbd,de->lbe", inputs, np.asarray(params["kernel"])) + np.arange(5.0)
    np.testing.assert_allclose(reader(params, jnp.asarray(inputs)), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="the frames have 4 numbers, but the reader takes 3"):
        reader(params, jnp.zeros((2, 4)))
