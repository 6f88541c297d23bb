"""Targets by beam search: batches of sources in, the best hypotheses of each sentence out."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data import PairBatch
from experiments.footprint import Part, check_fits
from experiments.harness.checks import check_at_least, check_not_negative
from models import Average, Beams, EncoderDecoder, WuPenalty, beam_search, decoder_step
from models.cell import Array, Params
from models.decoding.allowed import Automaton
from models.decoding.beam_search import Normalise

Grammar = Callable[[Array, Array, Array], Automaton]
"""`(inputs [L, *batch, ...], mask [L, *batch], limits [*batch]) → automaton`: the targets that these sources may
have, each of at most as many tokens as its limit, the end mark included."""


class Space(NamedTuple):
    """The targets that are searched: at most `ratio` times as many tokens as the source has, and `more`; with a
    `grammar` those alone that it accepts."""

    ratio: int = 2
    more: int = 10
    grammar: Grammar | None = None


ANY = Space()


@dataclass(frozen=True)
class SearchConfig:
    """The options of a search.

    Raises ValueError for a number outside its range.
    """

    width: int = 5
    """Hypotheses that the search keeps of each sentence; 1 is greedy."""
    normalise: Literal["wu", "average", "none"] = "wu"
    """Compare hypotheses by this. wu: their log-probability over ((5 + length) / 6)^alpha (Wu et al. 2016);
    average: that of a token; none: the log-probability itself, which favours short ones."""
    alpha: float = 1.0
    """The exponent of --normalise wu."""

    def __post_init__(self) -> None:
        check_at_least(1, width=self.width)
        check_not_negative(alpha=self.alpha)

    def rule(self) -> Normalise | None:
        """Returns the score by which hypotheses are ranked; None for the log-probability itself."""
        match self.normalise:
            case "wu":
                return WuPenalty(self.alpha)
            case "average":
                return Average()
        return None


class Hypothesis(NamedTuple):
    """The ids of a target, without the end mark, its log-probability in nats, and what it is ranked by."""

    ids: tuple[int, ...]
    score: float
    normalised: float


@partial(jax.jit, static_argnames=("model", "search", "n_best", "space"))
def search_batch(
    model: EncoderDecoder,
    params: Params,
    inputs: Array,
    mask: Array,
    *,
    search: SearchConfig,
    n_best: int = 1,
    space: Space = ANY,
) -> Beams:
    """Searches for the targets of a batch of sources `[L, B, ...]`. The longest allowed depends on the sentence
    alone, not on its batch."""
    length = space.ratio * len(inputs) + space.more
    limits = space.ratio * jnp.sum(mask, axis=0) + space.more
    step, state = decoder_step(model, params, inputs, mask, steps=length)
    return beam_search(
        step,
        state,
        jnp.full(mask.shape[1:], model.writer.end, jnp.int32),
        width=search.width,
        length=length,
        end=model.writer.end,
        limits=limits,
        normalise=search.rule(),
        allowed=None if space.grammar is None else space.grammar(inputs, mask, limits),
        n_best=n_best,
    )


def search_targets(
    model: EncoderDecoder,
    params: Params,
    batches: Sequence[PairBatch],
    search: SearchConfig,
    n_best: int = 1,
    space: Space = ANY,
) -> list[list[Hypothesis]]:
    """Returns the `n_best` best hypotheses of every sentence, best first, in the order of the batches.

    Args:
        model: the model.
        params: its parameters.
        batches: the sources.
        search: the options of the search.
        n_best: how many hypotheses of each.
        space: the targets that are searched.

    Raises ValueError for a width above the number of sequences, or whose hypotheses need more memory than is free,
    and for an `n_best` above the width.
    """
    found: list[list[Hypothesis]] = []
    for batch in batches:
        check_search_fits(search.width, batch.mask.shape[1], model.writer.vocabulary_size)
        options: Any = {"search": search, "n_best": n_best, "space": space}
        beams = jax.device_get(search_batch(model, params, batch.inputs, batch.mask, **options))
        real = np.flatnonzero(np.asarray(batch.mask).any(axis=0))
        found += [list(hypotheses(beams, int(row), model.writer.end)) for row in real]
    return found


def hypotheses(beams: Beams, row: int, end: int) -> Iterator[Hypothesis]:
    """Yields the hypotheses of one sentence of a batch; fewer than n where there are fewer sequences."""
    for tokens, length, score, normalised in zip(*(leaf[row] for leaf in beams), strict=True):
        ids = tokens[:length].tolist()
        if score != -np.inf:  # NaN, where the model has some, shows
            yield Hypothesis(tuple(ids[:-1] if ids[-1:] == [end] else ids), float(score), float(normalised))


def check_search_fits(width: int, sentences: int, types: int, option: str = "--width") -> None:
    """Raises ValueError, naming the option of the width, where the log-probabilities `[W, B, V]` of one step of a
    search are more than is free."""
    scores = Part(4 * width * sentences * types, f"a smaller {option}")
    check_fits({f"the hypotheses [{width}, {sentences}, {types}] of a search": scores})


def seconds_to_search(
    model: EncoderDecoder, params: Params, batches: Sequence[PairBatch], search: SearchConfig
) -> float:
    """Measures the seconds that a search of these batches takes, compilation not included."""
    by_shape = {batch.inputs.shape: batch for batch in batches}
    search_targets(model, params, list(by_shape.values()), search)
    start = time.monotonic()
    search_targets(model, params, batches, search)
    return time.monotonic() - start
