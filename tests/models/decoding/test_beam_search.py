"""Beam search against enumeration, against a plain loop over hypotheses in double precision, and under models."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import (
    LSTM,
    Average,
    Beams,
    LanguageModel,
    Transformer,
    beam_search,
    free_running,
    greedy,
    language_step,
)
from models.cell import Array, State
from models.decoding.top_k import top_k
from models.language_model import uniform_like
from tests.models.decoding.hypotheses import (
    END,
    LENGTH,
    NORMALISE,
    PENALTY,
    Net,
    V,
    by_hand,
    check,
    compiled,
    net,
    search,
    starts,
)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.mark.parametrize("name", NORMALISE)
@pytest.mark.parametrize("end", [None, END])
def test_full_width_is_enumeration(name: str, end: int | None) -> None:
    """V^length slots hold every sequence, in the order of the normalised scores."""
    chosen, (state, first) = net(1), starts(2, 2)
    width = V**LENGTH
    found = search(chosen, state, first, name=name, width=width, length=LENGTH, end=end, n_best=width)
    rows = zip(state, first, strict=True)
    wanted = [by_hand(chosen, h, int(y), width, LENGTH, end, PENALTY[name]) for h, y in rows]
    assert len(wanted[0]) == (V**LENGTH if end is None else 1 + 2 + 4 + 8 * 3)
    check(found, wanted, end or 0)


@partial(jax.jit, static_argnames=("width", "end", "n_best"))
def search_wu(net: Net, state: Array, first: Array, limits: Array, alpha: float, **options: Any) -> Beams:
    return beam_search(
        net.step,
        state,
        first,
        length=5,
        limits=limits,
        normalise=lambda scores, lengths: scores / ((5 + lengths) / 6) ** alpha,
        **options,
    )


@given(
    seed=st.integers(0, 10**6),
    alpha=st.sampled_from([0, 0.5, 2]),
    searched=st.sampled_from([(1, END, 1), (2, None, 2), (5, END, 5), (5, END, 2)]),
    limits=st.lists(st.integers(1, 5), min_size=3, max_size=3),
)
def test_as_a_loop_over_hypotheses(
    seed: int, alpha: float, searched: tuple[int, int | None, int], limits: list[int]
) -> None:
    """For any width, and limits of each example's own, it is as if each were searched alone."""
    width, end, n_best = searched
    chosen, (state, first) = net(seed, 7), starts(seed + 1, 3, 7)
    found = search_wu(chosen, state, first, np.array(limits), alpha, width=width, end=end, n_best=n_best)

    def penalty(length: int) -> float:
        return ((5 + length) / 6) ** alpha

    rows = zip(state, first, limits, strict=True)
    check(found, [by_hand(chosen, h, int(y), width, n, end, penalty) for h, y, n in rows], end or 0)


def test_width_one_is_greedy() -> None:
    chosen, (state, first) = net(4, 7), starts(5, 6, 7)
    run = jax.jit(lambda state, first: free_running(chosen.step, state, first, 8, greedy)[1])
    logits = run(state, first)
    likeliest = np.argmax(logits, axis=-1).T
    endless = search(chosen, state, first, width=1, length=8)
    np.testing.assert_array_equal(endless.tokens[:, 0], likeliest)
    ending = search(chosen, state, first, width=1, length=8, end=END)
    ended = likeliest == END
    before = np.cumsum(ended, axis=1) - ended == 0
    np.testing.assert_array_equal(ending.tokens[:, 0], np.where(before, likeliest, END))
    np.testing.assert_array_equal(ending.lengths[:, 0], before.sum(axis=1))
    assert 1 < before.sum() < before.size


def test_an_example_does_not_depend_on_its_batch() -> None:
    chosen, (state, first) = net(6, 7), starts(7, 9, 7)
    options: Any = {"name": "wu", "width": 4, "length": 9, "end": END, "n_best": 4}
    whole = search(chosen, state, first, **options)
    for one in (0, 4, 8):
        alone = search(chosen, state[one], first[one], **options)
        np.testing.assert_array_equal(alone.tokens, whole.tokens[one])
        np.testing.assert_array_equal(alone.lengths, whole.lengths[one])
        np.testing.assert_allclose(alone.scores, whole.scores[one], rtol=1e-5)


@pytest.mark.slow
def test_devices_may_share_a_batch() -> None:
    """Under `shard_map`, which checks what differs between devices."""
    chosen, (state, first) = net(6, 7), starts(7, 4, 7)
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    batch = jax.sharding.PartitionSpec("batch")
    options: Any = {"width": 3, "length": 5, "end": END}
    shared = jax.jit(
        jax.shard_map(
            lambda state, first: beam_search(chosen.step, state, first, **options),
            mesh=mesh,
            in_specs=batch,
            out_specs=batch,
        )
    )
    found = shared(jnp.asarray(state), jnp.asarray(first))
    np.testing.assert_array_equal(found.tokens, search(chosen, state, first, **options).tokens)


@pytest.mark.parametrize(("n_best", "steps"), [pytest.param(2, 4, marks=pytest.mark.slow), (1, 3)])
def test_steps_after_the_last_that_matters_do_nothing(n_best: int, steps: int) -> None:
    """The best hypothesis ends in step 1, the second in step 4. After step 3 it can't overtake the first any more:
    ln (0.4 / 16) / 6 = −0.61, the most that it may come to, is below ln 0.6 = −0.51. NaN would come with step 5."""
    table = jnp.array(
        [[0.6, 0.4, 0, 0, 0], [0, *[0.25] * 4], [0, *[0.25] * 4], [1, 0, 0, 0, 0], [jnp.nan] * 5]
    )
    calls = []

    def step(state: State, token: Array) -> tuple[State, Array]:
        calls.append(1)
        return state + 1, jnp.log(table)[state]

    with jax.disable_jit():
        found = beam_search(
            step,
            jnp.zeros(2, int),
            jnp.zeros(2, int),
            width=2,
            length=6,
            end=END,
            normalise=Average(),
            n_best=n_best,
        )
    assert len(calls) - 1 == steps  # one more finds out V
    np.testing.assert_array_equal(found.lengths[0], [1, 4][:n_best])
    np.testing.assert_allclose(found.scores[0], np.log([0.6, 0.4 / 16])[:n_best], rtol=1e-6)


@pytest.mark.parametrize(("size", "k"), [(7, 7), (40, 1), (101, 4)])
def test_top_k_in_two_stages(size: int, k: int) -> None:
    """As in one, of equal values the first; rows of −∞ too."""
    values = jax.random.randint(jax.random.key(size), (50, size), 0, 9).astype(jnp.float32)
    values = values.at[1:3].set(-jnp.inf)
    both = jax.jit(top_k, static_argnums=1)(values, k), jax.lax.top_k(values, k)
    for found, wanted in zip(*both, strict=True):
        np.testing.assert_array_equal(found, wanted)


# --- models


@pytest.mark.parametrize(
    "cell",
    [LSTM(6), pytest.param(Transformer(8, 1, 2, context=8), marks=pytest.mark.slow)],
    ids=lambda cell: type(cell).__name__,
)
def test_scores_are_teacher_forced_log_probabilities(cell: Any) -> None:
    """Of a language model, after a text that it has read; ended ones too."""
    model = LanguageModel(cell, 5, 8)
    params: Any = uniform_like(
        jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1), int)), jax.random.key(1), 0.8
    )
    prompt = jnp.array([[1, 4, 3], [2, 0, 1]])

    @jax.jit
    def found(params: Any) -> Beams:
        step, state = language_step(model, params, (3,))
        state = jax.lax.scan(step, state, prompt)[0]
        first = jnp.array([2, 2, 1])
        return beam_search(step, state, first, width=4, length=5, end=0, normalise=Average(), n_best=4)

    beams = found(params)
    assert len({int(count) for count in beams.lengths.ravel()}) > 1
    before = jnp.broadcast_to(jnp.concatenate([prompt, jnp.array([[2, 2, 1]])])[..., None], (3, 3, 4))
    read = jnp.concatenate([before, jnp.moveaxis(beams.tokens, -1, 0)])
    losses: Any = jax.jit(partial(model.apply, method="token_losses"))(params, read[:-1], read[1:])
    counted = jnp.arange(5)[:, None, None] < beams.lengths[None]
    forced = -jnp.where(counted, losses[0][2:], 0).sum(axis=0)
    np.testing.assert_allclose(beams.scores, forced, rtol=1e-5)
    np.testing.assert_allclose(beams.normalised, forced / beams.lengths, rtol=1e-5)
    assert (np.diff(beams.normalised, axis=1) < 0).all()


def test_what_the_step_closes_over_is_not_copied_for_each_hypothesis() -> None:
    """A memory [B, L, M] appears nowhere with an axis for the width."""
    batch, places, size, width = 2, 11, 13, 5
    memory = jax.random.normal(jax.random.key(0), (batch, places, size))

    def step(state: State, token: Array) -> tuple[State, Array]:
        weights = jax.nn.softmax(jnp.einsum("bm,blm->bl", state, memory))
        return jnp.einsum("bl,blm->bm", weights, memory), state @ memory[0].T

    traced = jax.make_jaxpr(
        lambda state: beam_search(step, state, jnp.zeros(batch, int), width=width, length=3)
    )(jnp.zeros((batch, size)))
    largest = max(np.prod(shape) for shape in shapes(traced.jaxpr))
    assert largest == batch * places * size


def shapes(jaxpr: Any) -> list[tuple[int, ...]]:
    """The shapes of all values of a program and of those inside it."""
    found = []
    for equation in jaxpr.eqns:
        found += [variable.aval.shape for variable in equation.outvars]
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda leaf: hasattr(leaf, "jaxpr")):
            if hasattr(inner, "jaxpr"):
                found += shapes(inner.jaxpr)
    return [*found, *(variable.aval.shape for variable in jaxpr.invars + jaxpr.constvars)]


def test_half_precision_adds_in_single() -> None:
    chosen, (state, first) = net(6, 7), starts(7, 3, 7)

    def step(state: State, token: Array) -> tuple[State, Array]:
        state, logits = chosen.step(state, token)
        return state, logits.astype(jnp.bfloat16)

    found = compiled(step, state, first, width=2, length=9)
    assert found.scores.dtype == jnp.float32
    assert found.tokens.dtype == jnp.int32
    exact = search(chosen, state, first, width=2, length=9)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=0.02)


@pytest.mark.parametrize("dtype", [jnp.float64])
def test_double_precision_stays(x64: None, dtype: Any) -> None:
    chosen, (state, first) = net(6, 7), starts(7, 3, 7)
    doubled = Net(*(leaf.astype(np.float64) for leaf in chosen))
    assert search(doubled, state.astype(np.float64), first, width=2, length=2).scores.dtype == dtype


def test_nan_shows() -> None:
    """The example with NaN has a NaN score in front; the others are as they were."""
    chosen, (state, first) = net(6, 7), starts(7, 3, 7)
    clean = search(chosen, state, first, width=3, length=4, n_best=3, end=END)
    state[1] = np.nan
    found = search(chosen, state, first, width=3, length=4, n_best=3, end=END)
    assert np.isnan(found.scores[1, 0])
    np.testing.assert_array_equal(found.tokens[::2], clean.tokens[::2])
    np.testing.assert_array_equal(found.scores[::2], clean.scores[::2])


# --- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be a whole number of at least 1, but is 0"),
        ({"width": 82}, r"width is 82, but there are only 3\^4 = 81 sequences"),
        ({"width": 4, "n_best": 5}, "n_best is 5, but a beam of width 4 holds 4"),
        ({"width": 4, "n_best": 0}, "n_best must be a whole number of at least 1"),
        ({"width": 4, "end": 3}, "end marks are ids of 0 … 2, but 3 is among them"),
        ({"width": 4, "length": 0}, "length must be a whole number of at least 1"),
        (
            {"width": 4, "limits": jnp.ones(3, int)},
            r"limits must hold one number an example, \[2\], but is \[3\]",
        ),
    ],
)
def test_refused(options: dict, message: str) -> None:
    state, first = (jnp.asarray(array) for array in starts(9, 2))
    with pytest.raises(ValueError, match=message):
        beam_search(net(8).step, state, first, **{"length": LENGTH, "end": END, **options})


def test_step_without_an_axis_of_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match=r"logits \[\*batch, V\] for tokens \[2\], but they are \[2\]"):
        beam_search(lambda s, y: (s, s), jnp.zeros(2), jnp.zeros(2, int), width=1, length=1)
