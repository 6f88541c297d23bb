"""Decoders: their inputs right, their own, or mixed; against Python loops."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU
from models.cell import Array
from models.decoding.scheduled import (
    exponential_schedule,
    free_running,
    greedy,
    inverse_sigmoid_schedule,
    linear_schedule,
    sampled,
    scheduled_sampling,
    teacher_forcing,
)
from tests.models import drawn

pytestmark = pytest.mark.slow

T, B, V, H = 9, 4, 5, 8
CELL = GRU(H)
KEY = jax.random.key(3)
INPUTS = jnp.asarray(np.random.default_rng(0).integers(0, V, size=(T, B)))
PARAMS = {
    "cell": drawn.parameters(CELL, V),
    "out": jax.random.normal(jax.random.key(1), (H, V)) * 2,
}


def decoder_step(params: Any, state: Array, token: Array) -> tuple[Array, Array]:
    """Token ids in, logits out."""
    x = jax.nn.one_hot(token, V)
    state, y = CELL.step(params["cell"], state, CELL.drive(params["cell"], x))
    return state, y @ params["out"]


STEP = partial(decoder_step, PARAMS)
START = jnp.zeros((B, H))


def by_hand(feed: Any, choose: Any, inputs: Any = INPUTS) -> tuple[Any, np.ndarray, np.ndarray]:
    """A Python loop: `choose(t, own, right)` is what step t reads; also what was read."""
    state, x, outputs, read = START, inputs[0], [], []
    for t in range(T):
        read.append(np.asarray(x))
        state, y = STEP(state, x)
        outputs.append(np.asarray(y))
        if t + 1 < T:
            x = choose(t + 1, feed(y), inputs[t + 1])
    return state, np.stack(outputs), np.stack(read)


def close(found: Any, expected: Any) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_teacher_forcing() -> None:
    state, outputs, _ = by_hand(greedy, lambda t, own, right: right)
    close(jax.jit(partial(teacher_forcing, STEP))(START, INPUTS), (state, outputs))


def test_free_running() -> None:
    state, outputs, read = by_hand(greedy, lambda t, own, right: own)
    found = jax.jit(partial(free_running, STEP, length=T))(START, INPUTS[0])
    close(found, (state, outputs))
    np.testing.assert_array_equal(np.argmax(found[1], axis=-1)[:-1], read[1:])
    assert np.any(read[1:] != INPUTS[1:])  # else the right inputs would have passed too
    assert free_running(STEP, START, INPUTS[0], 0)[1].shape == (0, B, V)


def test_sampling_follows_the_distribution() -> None:
    """Tokens from fixed logits: each within 5 standard deviations of its probability; and by the key alone."""
    logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05, 0.0]))

    def record(state: Array, token: Array) -> tuple[Array, Array]:
        counts = state.at[token].add(1)
        return counts, jnp.broadcast_to(logits, (400, V))

    def draw(key: Array) -> np.ndarray:
        counts, _ = free_running(record, jnp.zeros(V, int), jnp.zeros(400, int), 26, sampled, key=key)
        return np.asarray(counts) - np.array([400, 0, 0, 0, 0])  # the first input was 0

    found, p = draw(KEY), np.exp(np.asarray(logits, np.float64))
    assert found.sum() == 10_000
    assert np.all(np.abs(found - 10_000 * p) <= 5 * np.sqrt(10_000 * p * (1 - p)) + 1e-3)
    np.testing.assert_array_equal(draw(KEY), found)
    assert np.any(draw(jax.random.key(4)) != found)


@pytest.mark.parametrize("feed", [greedy, sampled])
def test_limits_of_scheduled_sampling(feed: Any) -> None:
    """p = 0 is teacher forcing and p = 1 free running, token for token."""
    mixed = jax.jit(lambda p: scheduled_sampling(STEP, START, INPUTS, KEY, p, feed))
    forced = jax.jit(lambda: teacher_forcing(STEP, START, INPUTS))()
    free = jax.jit(lambda: free_running(STEP, START, INPUTS[0], T, feed, key=KEY))()
    for p, expected in ((0.0, forced), (1.0, free)):
        found = mixed(jnp.asarray(p))
        close(found, expected)
        np.testing.assert_array_equal(np.argmax(found[1], -1), np.argmax(expected[1], -1))
    assert np.any(np.abs(forced[1] - free[1]) > 1e-2)


def test_scheduled_sampling_mixes_example_by_example() -> None:
    """Each step reads its own output or the right input, its own in a share p of the cases."""
    batch, length, p = 50, 40, 0.3
    inputs = jnp.asarray(np.random.default_rng(1).integers(0, 1000, size=(length, batch)))

    def step(state: Array, token: Array) -> tuple[Array, Array]:
        return state, jnp.stack([token, token + 1], axis=-1)  # the output tells what was read

    def feed(y: Array, key: Any) -> Array:
        return y[:, 1] + 5000

    _, ys = scheduled_sampling(step, jnp.zeros(()), inputs, KEY, p, feed)
    read = np.asarray(ys[..., 0])
    np.testing.assert_array_equal(read[0], inputs[0])
    own = read[1:] != np.asarray(inputs)[1:]
    np.testing.assert_array_equal(read[1:][own], (read[:-1] + 5001)[own])
    count = own.size
    assert abs(own.mean() - p) < 5 * np.sqrt(p * (1 - p) / count)
    assert np.any(own.any(axis=1) & ~own.all(axis=1))  # not one coin for the whole batch


def test_vectors() -> None:
    """Forecasts: the output is fed as it is; one coin for a whole vector."""

    def step(state: Array, x: Array) -> tuple[Array, Array]:
        return state + 1, 0.5 * x + 1

    first = jnp.array([[4.0, 0.0]])
    count, ys = free_running(step, jnp.zeros(()), first, 3, lambda y, key: y)
    np.testing.assert_allclose(ys[:, 0], [[3, 1], [2.5, 1.5], [2.25, 1.75]])
    assert count == 3
    inputs = jnp.full((60, 3, 2), 100.0)
    _, ys = scheduled_sampling(step, jnp.zeros(()), inputs, KEY, 0.5, lambda y, key: y)
    read = 2 * (ys - 1)
    np.testing.assert_allclose(read[..., 0], read[..., 1])
    assert 0.2 < np.mean(read == 100) < 0.8
    slope = jax.grad(lambda x: jnp.sum(free_running(step, x * 0, x, 3, lambda y, key: y)[1][-1]))(first)
    np.testing.assert_allclose(slope, [[0.125, 0.125]])


def test_gradients_reach_the_parameters_and_not_through_what_is_fed() -> None:
    """Of two steps y = a x with y fed: d(y₁ + y₂)/da = x₁ + x₂, x₂ being a constant."""

    def total(a: Array) -> Array:
        def step(state: Array, x: Array) -> tuple[Array, Array]:
            return state, a * x

        return jnp.sum(
            scheduled_sampling(step, jnp.zeros(()), jnp.full((2, 1), 3.0), KEY, 1.0, lambda y, key: y)[1]
        )

    np.testing.assert_allclose(jax.grad(total)(jnp.array(2.0)), 3 + 6)

    def likelihood(params: Any) -> Array:
        _, logits = scheduled_sampling(partial(decoder_step, params), START, INPUTS, KEY, 0.5, sampled)
        return jnp.sum(jax.nn.log_softmax(logits)[..., 0])

    gradient = jax.jit(jax.grad(likelihood))(PARAMS)
    assert all(np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_schedules() -> None:
    """From the formulas of the paper, for the right inputs' share ε = 1 − p."""
    for i in (0, 1, 7, 40, 5000):
        np.testing.assert_allclose(
            1 - linear_schedule(i, slope=0.01, most=0.75), max(0.25, 1 - 0.01 * i), rtol=1e-5
        )
        np.testing.assert_allclose(1 - exponential_schedule(i, base=0.95), 0.95**i, rtol=1e-4, atol=1e-6)
        epsilon = 10 / (10 + np.exp(min(i / 10, 700)))
        np.testing.assert_allclose(1 - inverse_sigmoid_schedule(i, pace=10.0), epsilon, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        inverse_sigmoid_schedule(jnp.array(10 * np.log(10.0)), pace=10.0), 0.5, rtol=1e-5
    )
    traced = jax.jit(lambda i: linear_schedule(i, slope=0.5, start=0.25))(jnp.array(1))
    np.testing.assert_allclose(traced, 0.75)


def test_errors() -> None:
    for p in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"is in \[0, 1\], but is"):
            scheduled_sampling(STEP, START, INPUTS, KEY, p)
    with pytest.raises(ValueError, match=r"with a first step at least, but are \[0, 4\]"):
        scheduled_sampling(STEP, START, INPUTS[:0], KEY, 0.5)
    with pytest.raises(ValueError, match=r"shape \[4, 5\], but the step takes \[4\]"):
        free_running(STEP, START, INPUTS[0], 3, lambda y, key: y)
    with pytest.raises(ValueError, match="drawing tokens needs a key"):
        free_running(STEP, START, INPUTS[0], 3, sampled)
    with pytest.raises(ValueError, match="length must be a whole number"):
        free_running(STEP, START, INPUTS[0], -1)
    with pytest.raises(ValueError, match=r"between 0 and 1, but is 1\.0"):
        exponential_schedule(3, base=1.0)
    with pytest.raises(ValueError, match=r"at least 1, but is 0\.5"):
        inverse_sigmoid_schedule(3, pace=0.5)
