"""The tasks of the Neural Turing machine, generated from a key. Graves, Wayne & Danihelka 2014, section 4.

Inputs are `[T, B, D]` float32: bits, and marks on channels of their own. Targets are `[T, B, W]` int32: bits where
the task asks for them, and −1 where nothing is asked. Sequences of a batch have lengths of their own, drawn
uniformly; the mask ends with each."""

import math

import jax
import jax.numpy as jnp

from data.batch import Batch
from data.synthetic.draws import check_sizes, integers, uniform

NOT_ASKED = -1
COPY_BITS, ITEM_BITS, ITEM_ROWS, CONTEXT = 8, 6, 3, 5  # of the paper; an item has rows, an n-gram a context


def copy(key: jax.Array, batch_size: int, longest: int, shortest: int = 1, bits: int = COPY_BITS) -> Batch:
    """Copies L vectors of random bits, L uniform in shortest … longest:

        inputs   x_1 … x_L   end   nothing
        targets  nothing           x_1 … x_L

    D = bits + 1: the bits, and the end. Raises ValueError for lengths out of order.
    """
    _check_lengths(batch_size, shortest, longest)
    return repeat_copy(key, batch_size, longest, 1, shortest, bits=bits, counted=False)


def repeat_copy(
    key: jax.Array,
    batch_size: int,
    longest: int,
    repeats: int,
    shortest: int = 1,
    fewest: int = 1,
    *,
    bits: int = COPY_BITS,
    counted: bool = True,
    most: int | None = None,
) -> Batch:
    """Copies L vectors of random bits R times, L uniform in shortest … longest and R in fewest … repeats:

        inputs   x_1 … x_L   end, R   nothing
        targets  nothing              x_1 … x_L  R times, then a mark

    D = bits + 2: the bits, the end, and the number R, scaled to mean 0 and variance 1 over 1 … `most`, by default
    `repeats`. W = bits + 1: the last is the mark. Without `counted` there is neither number nor mark.
    """
    _check_lengths(batch_size, shortest, longest)
    check_sizes(batch_size, "repeats", repeats, fewest, "the most repeats are no fewer than the fewest")
    bits_key, length_key, repeat_key = jax.random.split(key, 3)
    vectors = integers(bits_key, (longest, batch_size, bits), 0, 2)
    lengths = integers(length_key, (batch_size,), shortest, longest + 1)
    times = integers(repeat_key, (batch_size,), fewest, repeats + 1)
    steps = longest * (1 + repeats) + 1 + counted
    t = jnp.arange(steps, dtype=jnp.int32)[:, None]
    length = lengths[None]
    end, first = t == length, length + 1
    last = first + length * times[None]  # the step of the mark
    shown = jnp.pad(vectors, ((0, steps - longest), (0, 0), (0, 0)))
    place = jnp.where(t >= first, (t - first) % length, 0)
    recalled = jnp.take_along_axis(vectors, place[..., None], axis=0)
    asked = (t >= first) & (t < last)

    inputs = [
        jnp.where((t < length)[..., None], shown, 0).astype(jnp.float32),
        end[..., None].astype(jnp.float32),
    ]
    targets = [recalled]
    if counted:
        top = most or repeats
        spread = math.sqrt((top**2 - 1) / 12) or 1.0
        number = (times.astype(jnp.float32) - (top + 1) / 2) / spread
        inputs.append(jnp.where(end, number[None], 0)[..., None])
        targets = [jnp.where(asked[..., None], recalled, 0), (t == last)[..., None].astype(jnp.int32)]
        asked |= t == last
    answer = jnp.where(asked[..., None], jnp.concatenate(targets, axis=-1), NOT_ASKED)
    return Batch(jnp.concatenate(inputs, axis=-1), answer, t <= last if counted else t < last)


def associative_recall(key: jax.Array, batch_size: int, most: int, fewest: int = 2) -> Batch:
    """Shows K items of three vectors of six bits, K uniform in fewest … most, then one of all but the last, and
    asks for the item that came after it:

        inputs   item 1, rows …  item K, rows   query, rows, query   nothing
        targets  nothing                                             the rows of the next item

    A mark stands before each item, another one before and after the query. D = 8: bits, mark of items, mark of
    queries."""
    check_sizes(batch_size, "fewest", fewest, 2, "the item after another one is asked for")
    check_sizes(batch_size, "most", most, fewest, "the most items are no fewer than the fewest")
    bits_key, count_key, place_key = jax.random.split(key, 3)
    items = integers(bits_key, (most, ITEM_ROWS, batch_size, ITEM_BITS), 0, 2)
    counts = integers(count_key, (batch_size,), fewest, most + 1)
    asked_for = integers(place_key, (batch_size,), 0, 2**16) % (counts - 1)
    block = ITEM_ROWS + 1
    steps = block * most + 2 * block + ITEM_ROWS - 2
    t = jnp.arange(steps, dtype=jnp.int32)[:, None]
    start = block * counts[None]  # of the query
    since = t - start
    row = jnp.where(since < 0, t % block - 1, since - 1)
    item = jnp.where(since < 0, t // block, asked_for[None])
    answer_row = since - block - 1
    answering = (answer_row >= 0) & (answer_row < ITEM_ROWS)

    def pick(item: jax.Array, row: jax.Array) -> jax.Array:
        flat = items.reshape(most * ITEM_ROWS, batch_size, ITEM_BITS)
        place = jnp.clip(item * ITEM_ROWS + row, 0, most * ITEM_ROWS - 1)
        return jnp.take_along_axis(flat, place[..., None], axis=0)

    showing = (row >= 0) & (since < block)
    shown = jnp.where(showing[..., None], pick(item, row), 0)
    marks = jnp.stack([(since < 0) & (row < 0), (since == 0) | (since == block)], axis=-1)
    inputs = jnp.concatenate([shown, marks.astype(jnp.int32)], axis=-1).astype(jnp.float32)
    answer = pick(jnp.broadcast_to(asked_for[None] + 1, t.shape[:1] + counts.shape), answer_row)
    return Batch(
        inputs,
        jnp.where(answering[..., None], answer, NOT_ASKED),
        since <= block + ITEM_ROWS,
    )


def dynamic_ngrams(key: jax.Array, batch_size: int, length: int, context: int = CONTEXT) -> Batch:
    """Bits of a source that is drawn anew for each sequence: the probability of a 1 after each of the 2^`context`
    contexts is drawn from Beta(½, ½). Every bit is to be predicted from those before it.

        inputs   0   x_1 … x_{T−1}
        targets  x_1 …     x_T

    D = W = 1. The first `context` bits are fair, and not asked for. Raises ValueError for a length that
    leaves nothing to predict.
    """
    check_sizes(batch_size, "context", context, 1, "an n-gram has something before it")
    check_sizes(batch_size, "length", length, context + 1, f"the first {context} bits are not asked for")
    source_key, first_key, draw_key = jax.random.split(key, 3)
    # The distribution function of Beta(½, ½) is (2/π) arcsin √p.
    source = jnp.sin(0.5 * math.pi * uniform(source_key, (2**context, batch_size))) ** 2
    first = integers(first_key, (context, batch_size), 0, 2)
    draws = uniform(draw_key, (length - context, batch_size))
    weights = 2 ** jnp.arange(context, dtype=jnp.int32)[:, None]

    def next_bit(before: jax.Array, draw: jax.Array) -> tuple[jax.Array, jax.Array]:
        p = jnp.take_along_axis(source, before[None], axis=0)[0]
        bit = (draw < p).astype(jnp.int32)
        return (before * 2 + bit) % 2**context, bit

    _, rest = jax.lax.scan(next_bit, jnp.sum(first[::-1] * weights, axis=0), draws)
    bits = jnp.concatenate([first, rest])
    inputs = jnp.concatenate([jnp.zeros((1, batch_size), jnp.int32), bits[:-1]])
    asked = jnp.arange(length)[:, None] >= context
    return Batch(
        inputs[..., None].astype(jnp.float32),
        jnp.where(asked, bits, NOT_ASKED)[..., None],
        jnp.ones((length, batch_size), bool),
    )


def bayes_ngrams(targets: jax.Array, context: int = CONTEXT) -> jax.Array:
    """Computes −log₂ p of each bit asked for, `[T, B]`, by the best estimator there is, which counts what came
    after the same context in this sequence: p(1) = (n₁ + ½) / (n₀ + n₁ + 1). Murphy 2012, section 3.3. `targets`
    are those of `dynamic_ngrams` with its first bits, 0 or 1, in place of −1."""
    batch_size = targets.shape[1]
    weights = 2 ** jnp.arange(context, dtype=jnp.int32)[:, None]
    before = jnp.sum(targets[:context][::-1] * weights, axis=0)

    def count(
        carry: tuple[jax.Array, jax.Array], bit: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        counts, before = carry
        seen = counts[before, jnp.arange(batch_size)]
        ones, both = jnp.where(bit == 1, seen[:, 1], seen[:, 0]), jnp.sum(seen, axis=-1)
        counts = counts.at[before, jnp.arange(batch_size), bit].add(1)
        return (counts, (before * 2 + bit) % 2**context), -jnp.log2((ones + 0.5) / (both + 1))

    counts = jnp.zeros((2**context, batch_size, 2))
    _, costs = jax.lax.scan(count, (counts, before), targets[context:])
    return jnp.concatenate([jnp.zeros((context, batch_size)), costs])


def priority_sort(
    key: jax.Array, batch_size: int, count: int = 20, asked: int = 16, bits: int = COPY_BITS
) -> Batch:
    """Shows `count` vectors of random bits, each with a priority uniform in [−1, 1), and asks for the `asked` of
    highest priority, highest first:

        inputs   x_1, p_1 … x_n, p_n   end   nothing
        targets  nothing                     the vectors, sorted

    D = bits + 2: the bits, the priority and the end.
    """
    check_sizes(batch_size, "count", count, 1, "there is something to sort")
    check_sizes(batch_size, "asked", asked, 1, "something is asked for")
    if asked > count:
        raise ValueError(f"asked is {asked}, but there are {count} vectors: ask for no more.")
    bits_key, priority_key = jax.random.split(key)
    vectors = integers(bits_key, (count, batch_size, bits), 0, 2)
    priorities = 2 * uniform(priority_key, (count, batch_size)) - 1
    order = jnp.argsort(-priorities, axis=0, stable=True)[:asked]
    best = jnp.take_along_axis(vectors, order[..., None], axis=0)
    steps = count + 1 + asked
    shown = jnp.concatenate([vectors.astype(jnp.float32), priorities[..., None]], axis=-1)
    end = (jnp.arange(steps) == count).astype(jnp.float32)[:, None, None]
    inputs = jnp.pad(shown, ((0, 1 + asked), (0, 0), (0, 0)))
    inputs = jnp.concatenate([inputs, jnp.broadcast_to(end, (steps, batch_size, 1))], axis=-1)
    answer = jnp.pad(best, ((count + 1, 0), (0, 0), (0, 0)), constant_values=NOT_ASKED)
    return Batch(inputs, answer, jnp.ones((steps, batch_size), bool))


def _check_lengths(batch_size: int, shortest: int, longest: int) -> None:
    check_sizes(batch_size, "shortest", shortest, 1, "there is something to copy")
    check_sizes(batch_size, "longest", longest, shortest, "the longest is no shorter than the shortest")
