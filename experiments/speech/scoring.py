"""The texts that a recogniser writes, and their error rates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from analysis import ExactMatch, Statistics
from analysis.scores.edits import DoubledLetters, ErrorRate
from data.speech.batches import SpeechBatch
from data.speech.labels import AnyLabels
from experiments.corpus_score import Decoded
from experiments.speech.text import SpokenText
from experiments.task import Metric
from models import WuPenalty, beam_search, ctc_greedy, ctc_prefix_beam, decoder_step, trim_repeats
from models.cell import Array, Params
from models.speech.attention_recogniser import AttentionRecogniser

LONGER = 10  # labels that a decoder may write beyond the longest reference of a batch
METRICS: Mapping[str, Metric] = {
    "loss": Metric("loss (nats a label, or a step)", scale="log"),
    "cer": Metric("letter errors (CER)", ".2%"),
    "wer": Metric("word errors (WER)", ".2%"),
    "exact": Metric("utterances without an error", ".1%", "higher"),
    "doubled": Metric("doubled letters right", ".1%", "higher"),
}


def statistics_of(text: SpokenText) -> dict[str, Statistics[str]]:
    """Returns the scores of a corpus: of words where texts have several, of doubled letters where they have any."""
    references = [one.text for one in text.held_out["test"]]
    found: dict[str, Statistics[str]] = {"cer": ErrorRate()}
    if any(" " in one for one in references):
        found["wer"] = ErrorRate(words=True)
    found["exact"] = ExactMatch()
    # Of validation too, on which all scores are computed.
    if all(any(DoubledLetters().of("", one.text)[1] for one in held) for held in text.held_out.values()):
        found["doubled"] = DoubledLetters()
    return found


@partial(jax.jit, static_argnames=("model", "aligned", "width"))
def best_labels(
    model: nn.Module, params: Params, batch: SpeechBatch, *, aligned: bool, width: int
) -> tuple[Array, Array]:
    """Returns labels `[T, B]`, zeros behind, and their number `[B]`: of the likeliest path, or by prefix search; of
    a net without blank the likeliest label at each step, equal neighbours trimmed."""
    mask = jnp.asarray(batch.mask)
    if isinstance(model, AttentionRecogniser):
        return searched(model, params, jnp.asarray(batch.inputs), mask, len(batch.labels) + LONGER, width)
    logits: Any = model.apply(params, jnp.asarray(batch.inputs), mask=mask)
    if aligned:
        return trim_repeats(jnp.argmax(logits, axis=-1) + 1, mask=mask)
    if width == 1:
        return ctc_greedy(logits, mask=mask)
    beams = ctc_prefix_beam(logits, width=width, mask=mask)
    return beams.tokens[:, 0].T, beams.lengths[:, 0]


def searched(
    model: AttentionRecogniser, params: Params, inputs: Array, mask: Array, length: int, width: int
) -> tuple[Array, Array]:
    """Returns what a decoder writes in at most so many steps, by beam search: labels `[N, B]`, zeros behind, and
    their number."""
    step, state = decoder_step(model, params, inputs, mask, steps=length)
    first = jnp.zeros(mask.shape[1:], jnp.int32)
    beams = beam_search(step, state, first, width=width, length=length, end=0, normalise=WuPenalty(1.0))
    tokens = beams.tokens[:, 0].T
    return tokens, jnp.sum(jnp.cumprod(tokens != 0, axis=0), axis=0)


@dataclass(frozen=True, eq=False)
class Decoder:
    """Decodes batches to texts."""

    model: nn.Module
    labels: AnyLabels
    aligned: bool = False
    width: int = 1

    def __call__(self, params: Params, batch: SpeechBatch) -> Iterator[Decoded]:
        """Yields what each utterance is taken for, beside what it says."""
        found, counts = best_labels(self.model, params, batch, aligned=self.aligned, width=self.width)
        found, counts = np.asarray(found), np.asarray(counts)
        labels, label_mask = np.asarray(batch.labels), np.asarray(batch.label_mask)
        for place in np.flatnonzero(np.asarray(batch.mask).any(axis=0)).tolist():
            yield Decoded(
                self.labels.decode(found[: counts[place], place]),
                self.labels.decode(labels[label_mask[:, place], place]),
            )


def perfectly_trimmed(labels: AnyLabels, batch: SpeechBatch) -> Iterator[Decoded]:
    """Yields what a net without an error at any step would write, equal neighbours trimmed."""
    spread, counts = map(np.asarray, trim_repeats(jnp.asarray(batch.spread), mask=jnp.asarray(batch.mask)))
    wanted, label_mask = np.asarray(batch.labels), np.asarray(batch.label_mask)
    for place in np.flatnonzero(np.asarray(batch.mask).any(axis=0)).tolist():
        yield Decoded(
            labels.decode(spread[: counts[place], place]), labels.decode(wanted[label_mask[:, place], place])
        )
