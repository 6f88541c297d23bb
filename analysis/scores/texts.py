"""Scores of texts: BLEU and chrF as sacrebleu computes them, and the ratio of lengths."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Shaped

from analysis.scores.statistics import ratio


class SacreBleu:
    """A metric of sacrebleu, on detokenised texts with one reference each. Post 2018.

    Its counts of a sentence and its score of a sum are sacrebleu's own, from methods for which it has no public
    name."""

    @cached_property
    def metric(self) -> Any:
        """The metric. Its module is imported late: it takes a tenth of a second, and few programs score texts."""
        raise NotImplementedError

    @cached_property
    def signature(self) -> str:
        """Says how the score is computed, in the form in which sacrebleu asks to publish it."""
        self.metric.num_refs = 1
        return str(self.metric.get_signature())

    def of(self, prediction: str, reference: str) -> Shaped[np.ndarray, " size"]:
        """Returns sacrebleu's counts of one sentence."""
        (counts,) = self.metric._extract_corpus_statistics([prediction], [[reference]])
        return np.array(counts, np.int64)

    def value(self, total: Shaped[np.ndarray, " size"]) -> float:
        """Returns the score, 0 … 100."""
        return float(self.metric._compute_score_from_stats(total.tolist()).score)


@dataclass(frozen=True)
class Bleu(SacreBleu):
    """BLEU with up to 4-grams of the words that the tokeniser 13a finds, 0 … 100. Papineni et al. 2002.

    Orders without a match count as 1/2, 1/4, … of one (sacrebleu's smoothing "exp"), where there is a match at all.

    The counts are the words of prediction and reference, then of each order the matches, then the n-grams of the
    prediction.
    """

    lowercase: bool = False
    size = 10

    @cached_property
    def metric(self) -> Any:
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(lowercase=self.lowercase)


@dataclass(frozen=True)
class ChrF(SacreBleu):
    """chrF: F-score, with recall twice as important, of n-grams of up to 6 characters, 0 … 100. Popović 2015.

    The counts are, of each order, the n-grams of the prediction, of the reference, and the matches.
    """

    lowercase: bool = False
    size = 18

    @cached_property
    def metric(self) -> Any:
        from sacrebleu.metrics.chrf import CHRF

        return CHRF(lowercase=self.lowercase)


@dataclass(frozen=True)
class LengthRatio:
    """Words of the predictions over words of the references, as `Bleu` counts them. Counts: both."""

    size = 2

    @cached_property
    def bleu(self) -> Bleu:
        return Bleu()

    def of(self, prediction: str, reference: str) -> Shaped[np.ndarray, "2"]:
        return self.bleu.of(prediction, reference)[:2]

    def value(self, total: Shaped[np.ndarray, "2"]) -> float:
        return ratio(total, "the references have no words")


@dataclass(frozen=True)
class WordAccuracy:
    """The share of the words of the references that stand at the same place in the predictions. Counts: those, and
    all."""

    size = 2

    def of(self, prediction: str, reference: str) -> Shaped[np.ndarray, "2"]:
        """Returns the counts of one sentence."""
        found, true = prediction.split(), reference.split()
        hits = sum(one == other for one, other in zip(found, true, strict=False))
        return np.array([hits, len(true)], np.int64)

    def value(self, total: Shaped[np.ndarray, "2"]) -> float:
        return ratio(total, "there is no word to score")
