"""Memory tasks generated from a key.

Each task is a pure function of a key, jittable with static sizes. The same threefry key
(`jax.random.key(seed, impl="threefry2x32")`) gives the same bytes on every machine and JAX version, as long as
`jax_threefry_partitionable` stays on: only the raw bits of the generator are used, and every floating-point
operation on them is exact or rounds once.
"""

import math

import jax
import jax.numpy as jnp

from data.batch import Batch
from data.synthetic.draws import check_sizes, integers, uniform

COPY_LENGTH = 10  # symbols to remember
COPY_SYMBOLS = 8  # the symbols 0 … 7
COPY_BLANK = 8
COPY_DELIMITER = 9
COPY_CATEGORIES = 10

# Temporal order: X and Y are 0 and 1, so that a symbol's id is its bit in the class.
ORDER_X, ORDER_Y, ORDER_DISTRACTORS, ORDER_START, ORDER_END = 0, 1, (2, 3, 4, 5), 6, 7
ORDER_SYMBOLS = 8


def adding(key: jax.Array, batch_size: int, length: int) -> Batch:
    """The adding problem: y = v_i + v_j for the two marked steps i < T/2 ≤ j.

    inputs [T, B, 2]: a value uniform in [0, 1), and a marker that is 1 at one random step of the first half
    (0 … ⌊T/2⌋−1) and at one of the second, and 0 elsewhere. targets [B] float32.
    Raises ValueError for length < 2. Hochreiter & Schmidhuber 1997, as in Arjovsky, Shah & Bengio 2016.

    Examples:
        >>> batch = adding(jax.random.key(0), batch_size=2, length=10)
        >>> batch.inputs.shape, batch.targets.shape
        ((10, 2, 2), (2,))
    """
    check_sizes(batch_size, "length", length, 2, "one marker needs a step in each half")
    half = length // 2
    value_key, first_key, second_key = jax.random.split(key, 3)
    values = uniform(value_key, (length, batch_size))
    first = integers(first_key, (batch_size,), 0, half)
    second = integers(second_key, (batch_size,), half, length)

    steps = jnp.arange(length, dtype=jnp.int32)[:, None]
    markers = (steps == first[None]) | (steps == second[None])
    # Gathered and added, not summed over time: one rounding, independent of a device's order of summation.
    targets = _pick(values, first) + _pick(values, second)
    inputs = jnp.stack([values, markers.astype(jnp.float32)], axis=-1)
    return Batch(inputs, targets, _all_valid(length, batch_size))


def adding_baseline() -> float:
    """Returns the mean squared error of always answering 1: the variance of the sum of two uniform values, 2 ·
    1/12."""
    return 1 / 6


def copy_memory(key: jax.Array, batch_size: int, blanks: int) -> Batch:
    """The copy memory problem: reproduce ten symbols after a long delay.

    With `blanks` = T of the paper, a sequence has T + 20 steps over ten categories: 0 … 7 are symbols, 8 is the
    blank, 9 the delimiter:

        inputs   10 symbols   T−1 blanks   delimiter   10 blanks
        targets  T+10 blanks                           the 10 symbols

    inputs [T+20, B, 10] float32 one-hot, targets [T+20, B] int32. Raises ValueError for blanks < 1.
    Arjovsky, Shah & Bengio 2016.
    """
    check_sizes(batch_size, "blanks", blanks, 1, "the last of them is the delimiter")
    symbols = integers(key, (COPY_LENGTH, batch_size), 0, COPY_SYMBOLS)

    def constant(steps: int, category: int) -> jax.Array:
        return jnp.full((steps, batch_size), category, jnp.int32)

    blank_tail = constant(COPY_LENGTH, COPY_BLANK)
    silence = [constant(blanks - 1, COPY_BLANK), constant(1, COPY_DELIMITER)]
    inputs = jnp.concatenate([symbols, *silence, blank_tail])
    targets = jnp.concatenate([constant(blanks + COPY_LENGTH, COPY_BLANK), symbols])
    one_hot = jax.nn.one_hot(inputs, COPY_CATEGORIES, dtype=jnp.float32)
    return Batch(one_hot, targets, _all_valid(blanks + 2 * COPY_LENGTH, batch_size))


def copy_baseline(blanks: int) -> float:
    """Returns the cross entropy, in nats per step, of certain blanks and then uniform guesses: 10 ln 8 / (T +
    20)."""
    return COPY_LENGTH * math.log(COPY_SYMBOLS) / (blanks + 2 * COPY_LENGTH)


def temporal_order(key: jax.Array, batch_size: int, length: int) -> Batch:
    """The temporal order problem: tell the order of two symbols X or Y among distractors.

    Step 0 shows the start symbol E and step T−1 the end symbol B. The steps between show a distractor a, b, c or d,
    except for one step in T/10 … 2T/10 and one in 5T/10 … 6T/10 (rounded down, ends included), each X or Y. The
    classes are XX, XY, YX, YY = 0, 1, 2, 3. inputs [T, B, 8] float32, one-hot over X, Y, a, b, c, d, E, B; targets
    [B] int32.

    Raises ValueError for length < 4; below 10 the first range starts at step 1, after the start symbol.
    Hochreiter & Schmidhuber 1997, task 6a (T from 100 to 110), with a fixed length as in Martens & Sutskever 2011
    and Pascanu, Mikolov & Bengio 2013.
    """
    check_sizes(batch_size, "length", length, 4, "the start, two symbols and the end take four steps")
    first_low = max(1, length // 10)
    first_high = max(first_low, 2 * length // 10)
    second_low, second_high = 5 * length // 10, 6 * length // 10

    noise_key, place_key, class_key = jax.random.split(key, 3)
    distractors = integers(noise_key, (length, batch_size), ORDER_DISTRACTORS[0], ORDER_DISTRACTORS[-1] + 1)
    first_place_key, second_place_key = jax.random.split(place_key)
    first_place = integers(first_place_key, (batch_size,), first_low, first_high + 1)
    second_place = integers(second_place_key, (batch_size,), second_low, second_high + 1)
    first, second = integers(class_key, (2, batch_size), ORDER_X, ORDER_Y + 1)

    steps = jnp.arange(length, dtype=jnp.int32)[:, None]
    symbols = jnp.where(steps == first_place[None], first[None], distractors)
    symbols = jnp.where(steps == second_place[None], second[None], symbols)
    symbols = symbols.at[0].set(ORDER_START).at[length - 1].set(ORDER_END)
    inputs = jax.nn.one_hot(symbols, ORDER_SYMBOLS, dtype=jnp.float32)
    return Batch(inputs, 2 * first + second, _all_valid(length, batch_size))


def temporal_order_baseline() -> float:
    """Returns the accuracy of a guess among the four equally likely classes."""
    return 1 / 4


def flip_flop(
    key: jax.Array, batch_size: int, length: int, bits: int = 3, probability: float = 0.05
) -> Batch:
    """The flip-flop: every bit remembers the sign of the last pulse u_i on its own channel.

        y_{t,i} = u_{t,i}        if there is a pulse, u_{t,i} = ±1 with equal probability
        y_{t,i} = y_{t−1,i}      if there is none, u_{t,i} = 0

    A pulse occurs with the given `probability`, and on every channel at the first step. inputs, targets
    [T, B, bits] float32. Raises ValueError for length < 1, bits < 1, or a probability outside 0 … 1.
    Sussillo & Barak 2013 (with three bits).
    """
    check_sizes(batch_size, "length", length, 1, "the first step sets every bit")
    check_sizes(batch_size, "bits", bits, 1, "a flip-flop holds at least one bit")
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}: that of a pulse must lie in 0 … 1.")
    shape = (length, batch_size, bits)
    place_key, sign_key = jax.random.split(key)
    steps = jnp.arange(length, dtype=jnp.int32)[:, None, None]
    pulses = (uniform(place_key, shape) < jnp.float32(probability)) | (steps == 0)
    signs = (2 * integers(sign_key, shape, 0, 2) - 1).astype(jnp.float32)
    last = jax.lax.cummax(jnp.where(pulses, steps, 0), axis=0)
    targets = jnp.take_along_axis(signs, last, axis=0)
    return Batch(jnp.where(pulses, signs, 0), targets, _all_valid(length, batch_size))


def delayed_recall(key: jax.Array, batch_size: int, length: int, delay: int) -> Batch:
    """Delayed recall: reproduce the input of d = `delay` steps ago, y_t = x_{t−d}, and 0 in the first d steps.

    inputs [T, B, 1] uniform in [−1, 1), multiples of 2⁻²³; targets [T, B, 1]. Raises ValueError for delay < 0
    or length ≤ delay. The delayed copy of Jaeger 2001's memory capacity and of Engelken 2023.
    """
    check_sizes(batch_size, "delay", delay, 0, "an input can't be recalled before it is shown")
    check_sizes(batch_size, "length", length, delay + 1, f"an input is recalled {delay} steps later")
    inputs = 2 * uniform(key, (length, batch_size, 1)) - 1
    nothing = jnp.zeros((delay, batch_size, 1), jnp.float32)
    return Batch(inputs, jnp.concatenate([nothing, inputs[: length - delay]]), _all_valid(length, batch_size))


def delayed_recall_baseline(length: int, delay: int) -> float:
    """Returns the mean squared error of always answering 0: the variance 1/3 of a uniform value, in T − d of T
    steps."""
    return (length - delay) / length / 3


def _pick(values: jax.Array, steps: jax.Array) -> jax.Array:
    """Gathers values[steps[b], b] for each b: [T, B], [B] → [B]."""
    return jnp.take_along_axis(values, steps[None], axis=0)[0]


def _all_valid(length: int, batch_size: int) -> jax.Array:
    return jnp.ones((length, batch_size), bool)
