"""Scores of sentences written again, and what the report shows of their vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import ExactMatch, Statistics, corpus_score
from analysis.scores.texts import WordAccuracy
from data.sentence_text import SentenceText
from experiments.autoencoders.vectors import decode_vectors, encode_sentences, interpolate, nearest
from experiments.corpus_score import CorpusScore, Decoded
from experiments.encoder_decoder.search import SearchConfig
from experiments.task import Metric, Scores
from models import EncoderDecoder
from models.cell import Params

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a piece)"),
    "exact": Metric("exact sentences", ".1%", "higher"),
    "words": Metric("words in place", ".1%", "higher"),
}
STATISTICS: Mapping[str, Statistics[str]] = {"exact": ExactMatch(), "words": WordAccuracy()}
PATHS, STEPS, NEIGHBOURS = 3, 5, 3  # interpolations and their sentences; nearest sentences of each one shown


def score(found: Sequence[str], true: Sequence[str]) -> dict[str, float]:
    """Computes corpus scores by their names in METRICS."""
    return {name: corpus_score(statistics, found, true) for name, statistics in STATISTICS.items()}


def nearest_sentences(text: SentenceText) -> list[str]:
    """Returns for each test sentence the training sentence of the greatest cosine of word counts, weighted by
    inverse document frequency."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = list(text.splits["train"])
    counts: Any = TfidfVectorizer(token_pattern=r"\S+")
    rows = counts.fit_transform(train)
    cosines = counts.transform(text.splits["test"]) @ rows.T
    return [train[int(place)] for place in np.asarray(cosines.argmax(axis=1)).ravel()]


@dataclass(frozen=True)
class SentenceScore(CorpusScore):
    """Scores of sentences written again; on the test data followed by tables of vectors."""

    tables: Any = None

    def __call__(self, params: Params, batches: Sequence[Any]) -> Scores:
        """Returns the scores on all batches, examples and tables."""
        scores = super().__call__(params, batches)
        return scores._replace(examples=f"{scores.examples}\n\n{self.tables(params)}")


def tables(search: SearchConfig, model: EncoderDecoder, text: SentenceText, params: Params) -> str:
    """Formats sentences between two, from evenly spaced vectors, and the nearest test sentences by the cosine."""
    sentences = list(text.splits["test"])
    ids = text.encode(sentences)
    vectors = encode_sentences(model, params, ids)
    places = np.unique(np.linspace(0, len(sentences) - 1, 2 * PATHS).round().astype(int)).tolist()
    pairs = list(zip(places[::2], places[1::2], strict=False))
    lines = []
    if pairs:
        between = np.concatenate([interpolate(vectors[a], vectors[b], STEPS) for a, b in pairs])
        longest = max(map(len, ids))
        beams = jax.device_get(
            decode_vectors(model, params, jnp.asarray(between), search=search, length=longest)
        )
        written = [
            text.tokenizer.decode(row[0, :length].tolist()).strip()  # without the end of a line
            for row, length in zip(beams.tokens, beams.lengths[:, 0].tolist(), strict=True)
        ]
        lines.append("between two sentences, by evenly spaced vectors")
        for number, (a, b) in enumerate(pairs):
            path = written[number * STEPS : (number + 1) * STEPS]
            lines += [
                "",
                f"  from   {sentences[a]}",
                *(f"         {one}" for one in path),
                f"  to     {sentences[b]}",
            ]
        lines.append("")
    lines.append("the nearest test sentences by the cosine of their vectors")
    for place in places[:PATHS]:
        lines += ["", f"  {sentences[place]}"]
        lines += [
            f"    {cosine:.2f}  {sentences[other]}" for other, cosine in nearest(vectors, place, NEIGHBOURS)
        ]
    return "\n".join(lines)


def by_length(outputs: Sequence[Decoded]) -> dict[str, np.ndarray]:
    """Returns METRIC `[n]` of the sentences of each number of words from 1 to n."""
    lengths = np.array([len(output.reference.split()) for output in outputs])
    found: dict[str, np.ndarray] = {}
    for name, statistics in STATISTICS.items():
        counts = np.array([statistics.of(output.prediction, output.reference) for output in outputs])
        sums = [counts[lengths == n].sum(axis=0) for n in range(1, lengths.max() + 1)]
        found[name] = np.array([statistics.value(one) if one[1] else np.nan for one in sums])
    return found
