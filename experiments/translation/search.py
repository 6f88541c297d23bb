"""Translation by beam search: batches of sources in, the best hypotheses of each sentence out."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data import PairBatch
from experiments.harness.checks import check_at_least, check_not_negative
from models import Average, Beams, EncoderDecoder, WuPenalty, beam_search, decoder_step
from models.cell import Array, Params
from models.decoding.beam_search import Normalise

RATIO, MORE = 2, 10  # a translation has at most so many times the tokens of its source, and so many more


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
    """The ids of a translation, without the end mark, its log-probability in nats, and what it is ranked by."""

    ids: tuple[int, ...]
    score: float
    normalised: float


@partial(jax.jit, static_argnames=("model", "search", "n_best"))
def search_batch(
    model: EncoderDecoder, params: Params, inputs: Array, mask: Array, *, search: SearchConfig, n_best: int
) -> Beams:
    """Searches for the translations of a batch of sources `[L, B]`. The longest allowed depends on the sentence
    alone, not on its batch."""
    length = RATIO * len(inputs) + MORE
    step, state = decoder_step(model, params, inputs, mask, steps=length)
    return beam_search(
        step,
        state,
        jnp.full(inputs.shape[1:], model.writer.end, jnp.int32),
        width=search.width,
        length=length,
        end=model.writer.end,
        limits=RATIO * jnp.sum(mask, axis=0) + MORE,
        normalise=search.rule(),
        n_best=n_best,
    )


def translate(
    model: EncoderDecoder,
    params: Params,
    batches: Sequence[PairBatch],
    search: SearchConfig,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Returns the `n_best` best hypotheses of every sentence, best first, in the order of the batches.

    Raises ValueError for a width above the number of sequences, or an `n_best` above the width.
    """
    found: list[list[Hypothesis]] = []
    for batch in batches:
        options = {"search": search, "n_best": n_best}
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


def seconds_to_translate(
    model: EncoderDecoder, params: Params, batches: Sequence[PairBatch], search: SearchConfig
) -> float:
    """Measures the seconds that a search of these batches takes, compilation not included."""
    by_shape = {batch.inputs.shape: batch for batch in batches}
    translate(model, params, list(by_shape.values()), search)
    start = time.monotonic()
    translate(model, params, batches, search)
    return time.monotonic() - start
