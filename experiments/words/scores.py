"""Scores of word vectors, and their tables: similarity sets, analogies, agreement with counts, neighbours."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.words.ppmi import cooccurrences, ppmi, svd_vectors
from analysis.words.vectors import Section, Vectors, agreement, analogies, neighbours, similarity
from data import WordTests, WordText
from experiments.task import Metric
from experiments.task_report import format_columns, padded
from train.progress import columns_of

LISTED = 8  # words in the table of neighbours, where none are named
COMPARED = 500  # most frequent words whose cosines are compared with those of counts
COUNTS = "PPMI and SVD"
# Below this frequency a word is none of grammar alone; those above have no telling neighbours.
TELLING = 0.003


def metrics_of(tests: WordTests) -> dict[str, Metric]:
    """Returns the metrics that the tests allow."""
    found = {
        "loss": Metric("loss (nats a pair)"),
        "agreement": Metric("agreement with PPMI and SVD (Spearman)", ".3f", "higher"),
    }
    found |= {
        f"similarity_{name}": Metric(f"{name} (Spearman)", ".3f", "higher") for name in tests.similarity
    }
    if tests.analogies:
        found["analogies"] = Metric("analogies answered", ".1%", "higher")
    return found


def vectors_from_counts(text: WordText, size: int, window: int, seed: int) -> Vectors:
    """Makes vectors from counts alone: PPMI and SVD."""
    types = text.vocabulary.types
    counts = cooccurrences(text.ids, text.lengths, len(types), window)
    return Vectors(types, svd_vectors(ppmi(counts), size, seed=seed))


def score_vectors(vectors: Vectors, tests: WordTests, counted: Vectors | None) -> dict[str, float]:
    """Computes every metric but the loss; `agreement` with the vectors `counted`, if they are given."""
    scores: dict[str, float] = {}
    if counted is not None:
        rows = np.arange(min(COMPARED, len(vectors.words)))
        scores["agreement"] = agreement(vectors, counted, rows)
    for name, pairs in tests.similarity.items():
        scores[f"similarity_{name}"] = similarity(vectors, pairs).spearman
    if tests.analogies:
        scores["analogies"] = share(total(analogies(vectors, tests.analogies)))
    return scores


def total(sections: Mapping[str, Section]) -> Section:
    """Adds up sections."""
    return Section(*(sum(column) for column in zip(*sections.values(), strict=True)))


def share(section: Section) -> float:
    """Returns the share of the covered questions that are answered correctly; NaN if none is covered."""
    return section.correct / section.covered if section.covered else float("nan")


def telling_words(text: WordText, count: int) -> list[str]:
    """Returns the most frequent words of more than two letters, or one Chinese character, that aren't among the
    very frequent."""
    most = TELLING * len(text.ids)
    pairs = zip(text.vocabulary.types, text.vocabulary.counts, strict=True)
    return [word for word, number in pairs if number < most and columns_of(word) > 2 and word.isalpha()][
        :count
    ]


def format_neighbours(vectors: Vectors, words: Sequence[str], count: int = 6) -> str:
    """Formats a table: each word with its nearest ones by cosine, nearest first."""
    width = max(map(columns_of, words), default=0)
    lines = []
    for word in words:
        nearest = (f"{near} {cosine:.2f}" for near, cosine in neighbours(vectors, word, count))
        lines.append(f"{padded(word, width)}  {', '.join(nearest)}")
    return "\n".join(["nearest words by cosine", *lines])


def format_coverage(vectors: Vectors, tests: WordTests) -> str:
    """Formats how many pairs of each similarity set the vocabulary covers; empty without sets."""
    found = {name: similarity(vectors, pairs) for name, pairs in tests.similarity.items()}
    lines = [f"{name}: {one.covered} of {one.pairs} pairs have vectors" for name, one in found.items()]
    return "\n".join(lines)


def format_analogies(named: Mapping[str, Mapping[str, Section]]) -> str:
    """Formats the share of analogies answered by section, a column for each set of vectors, and coverage."""
    first = next(iter(named.values()))
    rows = {}
    for section in [*first, "all"]:
        found = {name: total(s) if section == "all" else s[section] for name, s in named.items()}
        one = next(iter(found.values()))
        rows[section] = {name: f"{share(s):.1%}" for name, s in found.items()}
        rows[section]["covered"] = f"{one.covered} of {one.questions}"
    return "\n".join(format_columns([*named, "covered"], rows))
