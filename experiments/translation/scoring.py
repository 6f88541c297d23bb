"""Scores of translations, and the trivial and classical translations to compare with."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from analysis import (
    Bleu,
    ChrF,
    ExactMatch,
    LengthRatio,
    Statistics,
    bootstrap_interval,
    corpus_score,
    sentence_counts,
)
from analysis.scores.expressions import SameValue
from data import Pair
from experiments.task import Metric
from models.word_translation import WordTranslation

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a token)"),
    "exact": Metric("exact match", ".1%", "higher"),
    "value": Metric("value of the expression", ".1%", "higher"),
    "bleu_lowercased": Metric("BLEU, lower-cased", ".2f", "higher"),
    "bleu": Metric("BLEU", ".2f", "higher"),
    "chrf": Metric("chrF", ".2f", "higher"),
    "length_ratio": Metric("length ratio", ".3f", "higher"),
}
Scores = Mapping[str, Statistics[str]]
STATISTICS: Scores = {
    "exact": ExactMatch(),
    "bleu_lowercased": Bleu(lowercase=True),
    "bleu": Bleu(),
    "chrf": ChrF(),
    "length_ratio": LengthRatio(),
}
OF_PROGRAMS: Scores = {**STATISTICS, "value": SameValue()}
SHORT = (
    "exact",
    "value",
    "bleu_lowercased",
    "bleu",
)  # scored at evaluations too; with an interval in reports
TOKEN = re.compile(r"\w+|[^\w\s]")
ITERATIONS = 5  # of expectation maximisation


def short(statistics: Scores) -> Scores:
    """Returns those of SHORT."""
    return {name: statistics[name] for name in SHORT if name in statistics}


def score_translations(
    predictions: Sequence[str], references: Sequence[str], statistics: Scores = STATISTICS
) -> dict[str, float]:
    """Computes corpus scores by their names in METRICS."""
    return {name: corpus_score(scores, predictions, references) for name, scores in statistics.items()}


def intervals(
    predictions: Sequence[str], references: Sequence[str], statistics: Scores = STATISTICS
) -> dict[str, tuple[float, float]]:
    """Computes the 95 % intervals of scores over random samples of the sentences."""
    return {
        name: bootstrap_interval(scores, sentence_counts(scores, predictions, references))
        for name, scores in short(statistics).items()
    }


def signatures() -> dict[str, str]:
    """Returns sacrebleu's signatures of the scores that have one."""
    scores = {name: STATISTICS[name] for name in ("bleu_lowercased", "bleu", "chrf")}
    return {name: score.signature for name, score in scores.items() if isinstance(score, Bleu | ChrF)}


def compared(train: Sequence[Pair], sources: Sequence[str], *, generated: bool) -> dict[str, list[str]]:
    """Returns translations by methods without a net: the source itself; of generated pairs the commonest target,
    else word for word, by a dictionary learned from the training pairs."""
    copied = {"the source itself": list(sources)}
    if generated:
        common = Counter(pair.target for pair in train).most_common(1)[0][0]
        return copied | {"the commonest target": [common] * len(sources)}
    pairs = [(TOKEN.findall(pair.source), TOKEN.findall(pair.target)) for pair in train]
    dictionary = WordTranslation.learn(pairs, ITERATIONS)
    words = [join_tokens(dictionary.translate(TOKEN.findall(source))) for source in sources]
    return copied | {"word for word": words}


def join_tokens(tokens: Sequence[str]) -> str:
    """Joins words and punctuation to a text: no blank stands before punctuation."""
    return re.sub(r" ([^\w\s])", r"\1", " ".join(tokens))
