"""Beam search over any step of a decoder: the likeliest sequences, with their log-probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from models.cell import Array, State, check_at_least
from models.decoding.allowed import Automaton
from models.decoding.scheduled import Step
from models.decoding.top_k import log_softmax_of, top_k
from models.recurrence.scan import expand_mask, match_varying_axes
from models.token_ids import check_ids

Normalise = Callable[[Array, Array], Array]
"""`(scores, lengths) → normalised scores`, of the same shape, increasing in scores and monotone in lengths."""


class Beams(NamedTuple):
    """The best hypotheses of each example, best first.

    Attributes:
        tokens: ids; those from `lengths` on repeat the end mark, or are 0 where there is none.
        lengths: numbers of tokens, the end mark included.
        scores: log-probabilities, Σ_t ln p(y_t | y_1 … y_{t−1}); −∞ where there are fewer sequences than n.
        normalised: the scores by which they are ranked.
    """

    tokens: Int[Array, "*batch n T"]
    lengths: Int[Array, "*batch n"]
    scores: Float[Array, "*batch n"]
    normalised: Float[Array, "*batch n"]


@dataclass(frozen=True)
class WuPenalty:
    """Divides the score of y by (5 + |y|)^α / 6^α. Wu et al. 2016, equation 14, without the coverage."""

    alpha: float = 0.6

    def __call__(self, scores: Array, lengths: Array) -> Array:
        return scores / ((5 + lengths.astype(scores.dtype)) / 6) ** self.alpha


@dataclass(frozen=True)
class Average:
    """Divides the score of y by |y|: the mean log-probability of a token."""

    def __call__(self, scores: Array, lengths: Array) -> Array:
        return scores / jnp.maximum(lengths, 1).astype(scores.dtype)


class Beam(NamedTuple):
    """The W hypotheses of each example during the search, best first: leaves `[W, *batch, ...]`.

    `done` are those that don't go on: they have ended, are as long as they may be, don't exist (score −∞), or can't
    change what is returned."""

    state: State
    automaton: Any
    tokens: Array
    last: Array
    lengths: Array
    scores: Array
    normalised: Array
    done: Array


def beam_search(
    step: Step,
    state: State,
    first: Int[Array, "*batch"],
    *,
    width: int,
    length: int,
    end: int | None = None,
    limits: Array | None = None,
    normalise: Normalise | None = None,
    allowed: Automaton | None = None,
    n_best: int = 1,
) -> Beams:
    """Searches for the likeliest sequences y of a decoder, keeping the W best hypotheses of each example:

        s_t, z_t = step(s_{t−1}, y_{t−1})     y_0 = first     ln p(y) = Σ_t ln softmax(z_t)[y_t]

    A hypothesis that has ended keeps its slot, and competes with the others by its (normalised) score, until no
    other can overtake those returned. So an early end changes nothing, and no example depends on the others of its
    batch. W = 1 is greedy search; W = V^length keeps everything, and finds the exact maximum.

    It is one `lax.scan`, whose steps do nothing once all examples are done; it can be jitted. The
    step is mapped over the W hypotheses by `vmap`: what it closes over, such as a memory, isn't copied for them.

        step, state = decoder_step(model, params, inputs, mask)
        first = jnp.full(inputs.shape[1:], end)
        beams = beam_search(step, state, first, width=5, length=40, end=end, normalise=WuPenalty())
        translation = beams.tokens[0, 0, : beams.lengths[0, 0]]  # of the first source, the end mark last

    Args:
        step: `(state, tokens [*batch]) → (state, logits [*batch, V])`.
        state: the state before the first step, leaves `[*batch, ...]`.
        first: the tokens that the first step reads; they don't count in y.
        width: W.
        length: the number of steps. A hypothesis that hasn't ended by then competes as it stands.
        end: the end mark. It is part of y, in its length as in its score. None: sequences of `length` tokens.
        limits: the longest y of each example `[*batch]`, where that is shorter than `length`.
        normalise: what hypotheses are compared by in place of ln p(y), such as `WuPenalty()` or `Average()`.
        allowed: says which tokens each hypothesis may go on with. Scores stay those of the model: probabilities
            aren't rescaled to what is allowed.
        n_best: how many hypotheses to return.

    Log-probabilities are computed in single precision at least. Where a hypothesis has NaN among its logits, so has
    its score: it stays the best one, so that the fault shows.

    Raises:
        ValueError: a width below 1 or above V^length, an `n_best` outside 1 … width, an end mark outside the
            vocabulary, or arrays that don't fit one another.
    """
    size, dtype = check_search(step, state, first, width, length, end, limits, n_best)
    normalise = normalise or (lambda scores, lengths: scores)
    pad, per_hypothesis = end or 0, min(width, size)
    limits = jnp.full(first.shape, length) if limits is None else limits

    def advance(beam: Beam, t: Array) -> Beam:
        stepped, logits = jax.vmap(step)(beam.state, beam.last)
        logits = logits.astype(dtype)
        candidates = logits
        if allowed is not None:
            candidates = jnp.where(map_all(allowed.allowed, beam.last.ndim)(beam.automaton), logits, -jnp.inf)
        # Of each hypothesis its W best tokens are enough: [W, *batch, min(W, V)].
        best, tokens = top_k(candidates, per_hypothesis)
        gains = log_softmax_of(best, logits)
        # What is done goes on as itself alone.
        itself = jnp.where(jnp.arange(per_hypothesis) == 0, 0, -jnp.inf).astype(dtype)
        itself = itself.reshape((1,) * beam.done.ndim + itself.shape)
        gains = jnp.where(beam.done[..., None], itself, gains)
        tokens = jnp.where(beam.done[..., None], pad, tokens).astype(first.dtype)
        scores = beam.scores[..., None] + gains
        lengths = beam.lengths + ~beam.done
        normalised = normalise(scores, lengths[..., None])
        parent, nth = best_hypotheses(normalised, width)
        chosen = nth[..., None]

        def of_chosen(values: Array) -> Array:
            return jnp.take_along_axis(of_parent(values, parent), chosen, axis=-1)[..., 0]

        last, scores = of_chosen(tokens), of_chosen(scores)
        state, automaton, written, lengths, done = jax.tree.map(
            lambda leaf: of_parent(leaf, parent), (stepped, beam.automaton, beam.tokens, lengths, beam.done)
        )
        if allowed is not None:
            automaton = map_all(allowed.advance, last.ndim)(automaton, last)
        done |= (lengths >= limits[None]) | (scores == -jnp.inf)
        if end is not None:
            done |= last == end
        normalised = of_chosen(normalised)
        # Scores only fall, so once none of the others can overtake those returned, they don't matter.
        reach = jnp.maximum(
            normalise(scores, lengths + 1), normalise(scores, jnp.maximum(lengths, limits[None]))
        )
        others = jnp.max(jnp.where(done, -jnp.inf, reach), axis=0)
        done |= (jnp.all(done[:n_best], axis=0) & (others < normalised[n_best - 1]))[None]
        written = written.at[..., t].set(last)
        return Beam(state, automaton, written, last, lengths, scores, normalised, done)

    def advance_unless_done(beam: Beam, t: Array) -> tuple[Beam, None]:
        return jax.lax.cond(jnp.all(beam.done), lambda beam, t: beam, advance, beam, t), None

    rows = (width, *first.shape)
    scores = jnp.full(rows, -jnp.inf, dtype).at[0].set(0)
    beam = Beam(
        state=jax.tree.map(lambda leaf: tiled(leaf, width), state),
        automaton=None
        if allowed is None
        else jax.tree.map(lambda leaf: tiled(leaf, width), allowed.initial_state(first.shape)),
        tokens=jnp.full((*rows, length), pad, first.dtype),
        last=tiled(first, width),
        lengths=jnp.zeros(rows, jnp.int32),
        scores=scores,
        normalised=scores,
        done=(scores == -jnp.inf) | (limits[None] < 1),
    )
    beam = jax.lax.scan(advance_unless_done, match_varying_axes(beam), jnp.arange(length))[0]
    none = beam.scores == -jnp.inf
    kept = Beams(
        jnp.where(none[..., None], pad, beam.tokens),
        jnp.where(none, 0, beam.lengths),
        beam.scores,
        beam.normalised,
    )
    return Beams(*(jnp.moveaxis(leaf[:n_best], 0, first.ndim) for leaf in kept))


def best_hypotheses(normalised: Float[Array, "W *batch k"], width: int) -> tuple[Array, Array]:
    """Returns, for the best continuations of each example, which hypothesis each continues and which of its k
    it is: both `[width, *batch]`, best first; of equal ones the first, and NaN before all."""
    ranked = jnp.where(jnp.isnan(normalised), jnp.inf, normalised)
    ranked = jnp.moveaxis(ranked, 0, -2)
    k = ranked.shape[-1]
    chosen = jax.lax.top_k(ranked.reshape(*ranked.shape[:-2], -1), width)[1]
    chosen = jnp.moveaxis(chosen, -1, 0)
    return chosen // k, chosen % k


def of_parent(leaf: Array, parent: Int[Array, "W *batch"]) -> Array:
    """Returns what each hypothesis takes over from its parent: `leaf [W, *batch, ...]`."""
    return jnp.take_along_axis(leaf, expand_mask(parent, leaf), axis=0)


def tiled(leaf: Array, width: int) -> Array:
    """Repeats `leaf [*batch, ...]` for each hypothesis: `[W, *batch, ...]`."""
    return jnp.broadcast_to(leaf, (width, *jnp.shape(leaf)))


def map_all(function: Callable[..., Any], axes: int) -> Callable[..., Any]:
    """Maps a function of one hypothesis over so many leading axes."""
    for _ in range(axes):
        function = jax.vmap(function)
    return function


def check_search(
    step: Step,
    state: State,
    first: Array,
    width: int,
    length: int,
    end: int | None,
    limits: Array | None,
    n_best: int,
) -> tuple[int, Any]:
    """Returns V, and the type of log-probabilities. Raises ValueError as `beam_search` does."""
    check_at_least(1, width=width, length=length, n_best=n_best)
    if n_best > width:
        raise ValueError(f"n_best is {n_best}, but a beam of width {width} holds {width}: give a wider one")
    if limits is not None and jnp.shape(limits) != first.shape:
        raise ValueError(
            f"limits must hold one number an example, {list(first.shape)}, but is {list(jnp.shape(limits))}"
        )
    logits = jax.eval_shape(step, state, first)[1]
    if logits.shape[:-1] != first.shape or logits.ndim != first.ndim + 1:
        raise ValueError(
            f"the step must return logits [*batch, V] for tokens {list(first.shape)}, but they are "
            f"{list(logits.shape)}"
        )
    size = logits.shape[-1]
    if width > size**length:
        raise ValueError(
            f"width is {width}, but there are only {size}^{length} = {size**length} sequences: give no more"
        )
    if end is not None:
        check_ids(end, size, "end marks")
    return size, jnp.promote_types(logits.dtype, jnp.float32)
