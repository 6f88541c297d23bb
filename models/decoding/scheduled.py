"""Decoding over time by teacher forcing, free running and scheduled sampling.

A decoder step is a pure function `step(state, input) -> (state, output)`; bind its parameters by
`partial(decoder_step, params)`. Each function is one `lax.scan`, so it can be jitted, and differentiated with
respect to anything the step closes over; these gradients are summed over time in single precision at least.

Axes: a sequence of tokens is an integer array `[T, *batch]`, one of vectors a real array `[T, *batch, D]`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from models.cell import Array, Key, Output, State, check_at_least
from models.recurrence.scan import closed_scan

Step = Callable[[State, Array], tuple[State, Output]]
Feed = Callable[[Output, Key | None], Array]  # maps a step's output to the next step's input


def teacher_forcing(step: Step, state: State, inputs: Array) -> tuple[State, Output]:
    """Feeds every step the true input, and returns final state and outputs `[T, *batch, ...]`.
    Williams & Zipser 1989."""
    return closed_scan(step, state, inputs)


def greedy(logits: Array, key: Key | None = None) -> Array:
    """Returns the most likely token of `logits [*batch, V]`: `[*batch]`. A `Feed`."""
    return jnp.argmax(logits, axis=-1)


def sampled(logits: Array, key: Key | None = None) -> Array:
    """Draws a token from softmax(logits), `logits [*batch, V]` → `[*batch]`. A `Feed`.

    Raises ValueError without a key.
    """
    if key is None:
        raise ValueError("drawing tokens needs a key: free_running(…, key=…)")
    return jax.random.categorical(key, logits)


def free_running(
    step: Step, state: State, first: Array, length: int, feed: Feed = greedy, *, key: Key | None = None
) -> tuple[State, Output]:
    """Feeds every step after the input `first` its own last output:

        s_t, y_t = step(s_{t−1}, x_t)     x_1 = first     x_{t+1} = feed(y_t, key_t)

    Returns final state and outputs `[length, *batch, ...]`. `feed` is `greedy`, `sampled` (which needs a `key`) or
    your own function, such as `lambda y, key: y` for a forecast. Its result is cast to the type of `first`.

    Raises ValueError if the shape of `feed`'s result is not that of `first`.
    """
    check_at_least(0, length=length)
    keys = None if key is None else jax.random.split(key, length)

    def advance(carry: tuple[State, Array], key: Key | None) -> tuple[tuple[State, Array], Output]:
        state, x = carry
        state, y = step(state, x)
        return (state, next_input(feed, y, key, x)), y

    (state, _), ys = closed_scan(advance, (state, first), keys, length=length)
    return state, ys


def scheduled_sampling(
    step: Step, state: State, inputs: Array, key: Key, probability: float | Array, feed: Feed = greedy
) -> tuple[State, Output]:
    """Feeds each step after the first the model's own output with the given probability, else the true input:

        x_{t+1} = feed(y_t) with probability p,   inputs_{t+1} otherwise

    drawn independently for each example and step. p = 0 is exactly `teacher_forcing(step, state, inputs)` and p = 1
    exactly `free_running(step, state, inputs[0], T, feed, key=key)`. As in Bengio et al. 2015, no gradient passes
    through the fed outputs. Returns final state and outputs `[T, *batch, ...]`.

    Raises ValueError if the shape of `feed`'s result is not that of one step's input, if there is no first input,
    or if p is a number outside [0, 1].
    """
    if not isinstance(probability, jax.Array) and not 0 <= probability <= 1:
        raise ValueError(f"the probability of the model's own output is in [0, 1], but is {probability!r}")
    if inputs.ndim == 0 or not inputs.shape[0]:
        raise ValueError(f"inputs must be [T, ...] with a first step at least, but are {list(inputs.shape)}")
    keys = jax.random.split(key, inputs.shape[0])
    tokens = jnp.issubdtype(inputs.dtype, jnp.integer)
    batch_shape = inputs.shape[1:] if tokens else inputs.shape[1:-1]

    def advance(carry: tuple[State, Array], given: tuple[Array, Key]) -> tuple[tuple[State, Array], Output]:
        state, x = carry
        right, key = given
        state, y = step(state, x)
        own = jax.lax.stop_gradient(next_input(feed, y, key, x))
        coin = jax.random.uniform(jax.random.fold_in(key, 1), batch_shape) < probability
        coin = coin if tokens else coin[..., None]
        return (state, jnp.where(coin, own, right)), y

    # The input after the last step is never read, so any value will do.
    (state, _), ys = closed_scan(advance, (state, inputs[0]), (jnp.roll(inputs, -1, axis=0), keys))
    return state, ys


def next_input(feed: Feed, y: Output, key: Key | None, like: Array) -> Array:
    """Returns the next input, cast to the type of the last one. Raises ValueError if the shapes differ."""
    x = feed(y, key)
    if x.shape != like.shape:
        raise ValueError(
            f"feed returns an input of shape {list(x.shape)}, but the step takes {list(like.shape)}"
        )
    return x.astype(like.dtype)


def linear_schedule(
    step: int | Array, *, slope: float, start: float = 0.0, most: float = 1.0
) -> Array | float:
    """Computes p = min(most, start + slope · step): Bengio et al.'s linear decay of the true inputs' share 1 −
    p."""
    return jnp.minimum(most, start + slope * jnp.asarray(step))


def exponential_schedule(step: int | Array, *, base: float) -> Array:
    """Computes p = 1 − base^step, with base below 1: exponential decay of the true inputs' share."""
    if not 0 < base < 1:
        raise ValueError(f"the base of an exponential decay is between 0 and 1, but is {base!r}")
    return -jnp.expm1(jnp.asarray(step) * jnp.log(base))


def inverse_sigmoid_schedule(step: int | Array, *, pace: float) -> Array:
    """Computes p = 1 − k / (k + exp(step / k)), with k = `pace` at least 1: the true inputs' share falls to a
    half at step k ln k."""
    if pace < 1:
        raise ValueError(f"the pace of an inverse sigmoid decay is at least 1, but is {pace!r}")
    return jax.nn.sigmoid(jnp.asarray(step) / pace - jnp.log(pace))
