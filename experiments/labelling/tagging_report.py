"""Confusions of tags, errors by the frequency of words, sentences with their tags in columns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.harness.files import read_arrays
from experiments.labelling.tagged_words import HeldOut, TaggedWords
from experiments.task_report import padded
from train.progress import columns_of

MOST_TAGS = 20  # in the confusion matrix
FREQUENCIES = (0, 1, 2, 5, 10, 50, 250)  # how often a word occurs in training, from each to the next
Tags = Sequence[tuple[str, ...]]


def count_confusions(held: HeldOut, predicted: Tags) -> dict[str, np.ndarray]:
    """Counts what was said in place of each tag: `confusions [n, n]`, rows the true tags, of the `confused [n]`
    tags: the most frequent ones of which one is wrong, at most 20."""
    pairs = Counter(
        pair
        for sentence, tags in zip(held.sentences, predicted, strict=True)
        for pair in zip(sentence.tags, tags, strict=True)
    )
    wrong = Counter[str]()
    for (true, found), count in pairs.items():
        if true != found:
            wrong[true] += count
            wrong[found] += count
    frequent = Counter(tag for sentence in held.sentences for tag in sentence.tags)
    names = sorted(wrong or frequent, key=lambda tag: (-frequent[tag], tag))[:MOST_TAGS]
    confusions = [[pairs[true, found] for found in names] for true in names]
    return {"confusions": np.array(confusions), "confused": np.array(names)}


def count_by_frequency(text: TaggedWords, held: HeldOut, predicted: Tags) -> dict[str, np.ndarray]:
    """Counts words and errors by how often the word occurs in training: `words [n]` and `errors [n]` of the
    `frequencies [n]`, each from one to below the next."""
    words, errors = np.zeros((2, len(FREQUENCIES)), int)
    for sentence, tags in zip(held.sentences, predicted, strict=True):
        for word, true, found in zip(sentence.words, sentence.tags, tags, strict=True):
            place = np.searchsorted(FREQUENCIES, text.tags_seen(word).total(), side="right") - 1
            words[place] += 1
            errors[place] += true != found
    return {"words": words, "errors": errors, "frequencies": np.array(FREQUENCIES)}


def beside(words: Sequence[str], *rows: Sequence[str]) -> list[str]:
    """Formats words with what is below them in columns as wide as need be."""
    widths = [max(map(columns_of, column)) for column in zip(words, *rows, strict=True)]
    return [
        "  ".join(padded(entry, width) for entry, width in zip(row, widths, strict=True)).rstrip()
        for row in (words, *rows)
    ]


def draw_labelling(folder: Path) -> list[Path]:
    """Draws the confusions of tags and the errors by frequency of a finished run, from its arrays."""
    from analysis.figures.labelling import confusion_figure, errors_by_frequency
    from analysis.figures.style import save

    found: Mapping[str, np.ndarray] = read_arrays(folder, "measured")
    figures = folder / "figures"
    return [
        *save(confusion_figure(found["confusions"], found["confused"].tolist()), figures, "confusions"),
        *save(
            errors_by_frequency(found["words"], found["errors"], found["frequencies"].tolist()),
            figures,
            "errors_by_frequency",
        ),
    ]
