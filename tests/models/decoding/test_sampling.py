"""Frequencies of the tokens drawn: exact at a small V."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import (
    LSTM,
    LanguageModel,
    PositionCode,
    Sampling,
    Stacked,
    Transformer,
    free_running,
    generate,
    initial_carry,
    max_steps,
    sampled,
    scheduled_inputs,
    scheduled_sampling,
    unroll,
)
from models.cell import Array, Params, State
from models.language_model import uniform_like

pytestmark = pytest.mark.usefixtures("quick_compilation")
P = np.array([0.5, 0.2, 0.2, 0.06, 0.04])
Z = jnp.log(jnp.asarray(P, jnp.float32)) + 7.0


def left(*places: int) -> np.ndarray:
    """P over these places alone."""
    kept = np.isin(np.arange(5), places)
    return np.where(kept, P, 0) / P[kept].sum()


CASES = [
    (Sampling(), P),
    (Sampling(2.0), np.sqrt(P) / np.sqrt(P).sum()),
    (Sampling(0.5), P**2 / (P**2).sum()),
    (Sampling(top_k=1), left(0)),
    (Sampling(top_k=2), left(0, 1)),  # of two equally likely ones the first
    (Sampling(top_k=9), P),
    (Sampling(top_p=0.4), left(0)),
    (Sampling(top_p=0.51), left(0, 1)),
    (Sampling(top_p=0.75), left(0, 1, 2)),
    (Sampling(top_p=1.0), P),
    (Sampling(never=(0,)), left(1, 2, 3, 4)),
    (Sampling(top_k=3, top_p=0.75), left(0, 1)),  # 0.5, 0.2 and 0.2 of 0.9: two of them make 0.78
    (Sampling(0.5, top_p=0.8), np.array([0.25, 0.04, 0, 0, 0]) / 0.29),  # p²: 0.25 of 0.3352 is 0.746
]


@pytest.mark.parametrize(("sampling", "expected"), CASES, ids=[str(case[0])[9:-1] for case in CASES])
def test_distribution(sampling: Sampling, expected: np.ndarray) -> None:
    """softmax of what is left, and draws as often as it says."""
    np.testing.assert_allclose(jax.nn.softmax(sampling.filter_logits(Z)), expected, rtol=1e-5)
    count = 20_000
    drawn = sampling(jnp.broadcast_to(Z, (count, 5)), jax.random.key(3))
    shares = np.bincount(np.asarray(drawn), minlength=5) / count
    np.testing.assert_allclose(shares, expected, atol=5 * np.sqrt(0.25 / count))
    assert not shares[expected == 0].any()


def test_order_of_tokens_does_not_matter() -> None:
    order = jnp.array([3, 0, 4, 2, 1])
    sampling = Sampling(top_p=0.51)
    assert np.isfinite(sampling.filter_logits(Z[order])).tolist() == [False, True, False, True, False]


def test_temperature_of_zero_takes_the_likeliest() -> None:
    assert int(Sampling(0.0)(Z[::-1])) == 4
    assert int(Sampling(0.0, never=(4,))(Z[::-1])) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0 or more and finite, but is -1.0"),
        ({"temperature": float("inf")}, "temperature must be 0 or more"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1, but is 0"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, but is 0.0"),
        ({"top_p": 1.5}, "top_p must be above 0 and at most 1, but is 1.5"),
    ],
)
def test_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**options)


@pytest.mark.parametrize(
    ("never", "message"),
    [
        ((0, 1, 2, 3, 4), "never holds all 5 tokens and leaves none to draw"),
        ((5,), "tokens of never are ids of 0 … 4, but 5 is among them"),
        ((-1,), "tokens of never are ids of 0 … 4, but -1 is among them"),
    ],
)
def test_never_leaves_a_token_that_there_is(never: tuple[int, ...], message: str) -> None:
    for temperature in (0.0, 1.0):
        with pytest.raises(ValueError, match=message):
            jax.jit(Sampling(temperature, never=never))(Z, jax.random.key(0))


def test_draws_need_a_key() -> None:
    with pytest.raises(ValueError, match="drawing tokens needs a key"):
        Sampling()(Z)


# --- text


MODEL = LanguageModel(LSTM(6), vocabulary_size=5, embedding_size=3)


@pytest.fixture(scope="module")
def params() -> Params:
    drawn = MODEL.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    return jax.tree.map(lambda leaf: 3 * leaf, drawn)


def test_greedy_text_is_what_unrolling_it_predicts(params: Params) -> None:
    """Each token is the likeliest after all before it, read in one go."""
    prompt = [1, 4, 2]
    drawn = list(itertools.islice(generate(MODEL, params, prompt, Sampling(0.0), jax.random.key(0)), 12))
    _, ys = MODEL.apply(params, jnp.array([*prompt, *drawn[:-1]]))  # type: ignore
    logits = jnp.asarray(MODEL.apply(params, ys, method="logits"))
    assert drawn == jnp.argmax(logits, axis=-1)[len(prompt) - 1 :].tolist()
    assert len(set(drawn)) > 1


@pytest.mark.parametrize(
    ("position", "prompt"),
    [("learned", [1, 4, 2, 0, 3, 3, 1]), pytest.param("rotary", [2, 1], marks=pytest.mark.full)],
)
def test_text_of_a_transformer_never_ends(position: Any, prompt: list[int]) -> None:
    """Codes of 5 positions: each token is drawn after the last 5, read from an empty state; a window of rotary
    ones: after all, of which the layer sees the last 5."""
    model = LanguageModel(Transformer(4, layers=1, context=5, position=position), 5, 4)
    initial = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    params: Any = uniform_like(initial, jax.random.key(1), 1.0)
    sampling, key, reach = Sampling(0.5), jax.random.key(3), 5 if position != "rotary" else 20
    drawn = list(itertools.islice(generate(model, params, prompt, sampling, key), 9))

    @jax.jit
    def draw(tokens: Array, last: int, number: int) -> Array:
        result: Any = model.apply(params, tokens)
        logits = jnp.asarray(model.apply(params, result[1][last], method="logits"))
        return sampling(logits, jax.random.fold_in(key, number))

    text = [*prompt, *drawn]
    for number in range(9):
        seen = text[: len(prompt) + number][-reach:]
        padded = jnp.array([*seen, *[0] * (reach - len(seen))], jnp.int32)
        assert int(draw(padded, len(seen) - 1, number)) == drawn[number]
    assert len(set(drawn)) > 1


def test_the_most_steps_of_a_cell() -> None:
    """Codes end with their context, wherever in a cell they are added."""
    bounded = Transformer(4, context=5, position="learned")
    assert [max_steps(cell) for cell in (LSTM(3), Transformer(4), bounded)] == [None, None, 5]
    assert max_steps(Stacked((LSTM(4), PositionCode("sinusoidal", 7), bounded))) == 5
    assert max_steps(Stacked((LSTM(4), PositionCode("sinusoidal", 7)))) == 7


def test_draws_are_those_of_a_scan(params: Params) -> None:
    """The same keys, step by step and in one `free_running`."""
    sampling, key = Sampling(1.3, top_k=4), jax.random.key(5)
    drawn = list(itertools.islice(generate(MODEL, params, [2], sampling, key), 10))
    own = params["params"]["recurrent"]["cell"]

    def step(state: tuple[State, Array], token: Array) -> tuple[tuple[State, Array], Array]:
        x = params["params"]["embedding"]["embedding"][token]
        inner, ys = unroll(MODEL.cell, own, x[None], state[0])
        logits = jnp.asarray(MODEL.apply(params, ys[0], method="logits"))
        token = sampling(logits, jax.random.fold_in(key, state[1]))
        return (inner, state[1] + 1), token

    begin = (initial_carry(MODEL, params), jnp.zeros((), jnp.int32))
    _, expected = free_running(step, begin, jnp.array(2), 10, lambda token, _: token)
    assert drawn == expected.tolist()


def test_another_key_draws_another_text(params: Params) -> None:
    texts = [
        list(itertools.islice(generate(MODEL, params, [2], Sampling(2.0), jax.random.key(k)), 20))
        for k in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_an_empty_prompt() -> None:
    with pytest.raises(ValueError, match="empty prompt"):
        next(generate(MODEL, {}, [], Sampling(), jax.random.key(0)))


@pytest.mark.parametrize("outside", [-1, 5, 99])
def test_a_prompt_of_tokens_that_there_are(params: Params, outside: int) -> None:
    with pytest.raises(ValueError, match=f"tokens of the prompt are ids of 0 … 4, but {outside} is among"):
        next(generate(MODEL, params, [0, outside], Sampling(), jax.random.key(0)))


@pytest.mark.full
def test_scheduled_inputs(x64: None) -> None:
    """Fed to the model's loss they give that of `scheduled_sampling` written out, and its gradient: in that one the
    draws are made amid the steps that are differentiated."""
    model, key = LanguageModel(LSTM(3), 5, 4), jax.random.key(2)
    random = np.random.default_rng(0)
    tokens, targets = (jnp.asarray(random.integers(0, 5, (7, 3)), jnp.int32) for _ in range(2))
    params = uniform_like(model.init(jax.random.key(0), tokens), jax.random.key(1), 1.0)
    share = jnp.array([0.0, 0.5, 1.0])

    def loss(params: Any) -> Any:
        state = initial_carry(model, params, (3,))
        fed = scheduled_inputs(model, params, tokens, state, key, share)
        total: Any = model.apply(params, fed, targets, state, method="loss")
        return total[0], fed

    def written_out(params: Any) -> Any:
        inner = params["params"]
        own = inner["recurrent"]["cell"]

        def step(state: Any, token: jax.Array) -> Any:
            x = inner["embedding"]["embedding"][token]
            state, y = model.cell.step(own, state, model.cell.drive(own, x))
            return state, y @ inner["kernel"] + inner["bias"][None]

        state = initial_carry(model, params, (3,))
        _, logits = scheduled_sampling(step, state, tokens, key, share, sampled)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)
        return -jnp.sum(chosen)

    (found, fed), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    expected, by_hand = jax.value_and_grad(written_out)(params)
    assert float(found) == pytest.approx(float(expected), rel=1e-12)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), gradient, by_hand)
    np.testing.assert_array_equal(fed[0], tokens[0])
    np.testing.assert_array_equal(fed[:, 0], tokens[:, 0])
    assert not np.array_equal(fed[:, 2], tokens[:, 2])
