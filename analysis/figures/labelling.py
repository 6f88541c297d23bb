"""Figures of labels: which are confused, at which words errors are made, and how many are right by task."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from numpy.typing import ArrayLike

from analysis.figures.style import COLOURS, COLUMN, GREY, PAGE, SETTINGS, Figure, demand_shape


def confusion_figure(counts: ArrayLike, labels: Sequence[str]) -> Figure:
    """Draws a matrix of confusions `[n, n]`, rows the n true labels: the share of each row in grey, counts in it.

    Raises ValueError for another shape, or no label."""
    if not labels:
        raise ValueError("no labels to draw: the list is empty")
    matrix = demand_shape("counts", counts, (len(labels), len(labels)))
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with style.context(SETTINGS, after_reset=True):
        side = max(COLUMN, min(PAGE, 0.32 * len(labels) + 1.2))
        figure = Figure(figsize=(side, side), layout="constrained")
        ax = figure.subplots()
        ax.imshow(
            np.sqrt(shares), cmap="Greys", vmin=0, vmax=1, interpolation="nearest"
        )  # small shares are seen
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if shares[row, column] > 0.35 else "black"
                ax.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=5)
        ax.grid(visible=False)
        ax.tick_params(length=0)
        ax.set_xticks(range(len(labels)), labels, rotation=90)
        ax.set_yticks(range(len(labels)), labels)
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
    return figure


def errors_by_frequency(words: ArrayLike, errors: ArrayLike, frequencies: Sequence[int]) -> Figure:
    """Draws error rates of words, and their shares of all errors, by how often the word occurs in training: of
    `words [n]` and `errors [n]` of the `frequencies [n]`, each from one to below the next.

    Raises ValueError where the numbers aren't as many."""
    shape = (len(frequencies),)
    counts, wrong = demand_shape("words", words, shape), demand_shape("errors", errors, shape)
    names = [
        f"{low}" if high == low + 1 else f"{low}–{high - 1}" for low, high in itertools.pairwise(frequencies)
    ]
    places = np.arange(len(frequencies))
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.4), layout="constrained")
        ax = figure.subplots()
        rates = 100 * wrong / np.maximum(counts, 1)
        ax.bar(places - 0.2, rates, 0.4, color=COLOURS[0], label="words that are wrong")
        ax.bar(places + 0.2, 100 * wrong / max(wrong.sum(), 1), 0.4, color=GREY, label="share of all errors")
        ax.set_xticks(places, [*names, f"{frequencies[-1]}+"])
        ax.set_xlabel("occurrences of the word in training")
        ax.set_ylabel("%")
        ax.grid(visible=False, axis="x")
        ax.legend()
    return figure


def accuracy_by_task(systems: Mapping[str, ArrayLike], tasks: Sequence[str]) -> Figure:
    """Draws accuracies `[n]` of each system on n tasks as bars side by side.

    Raises ValueError for no system, or where the numbers aren't as many."""
    if not systems or not tasks:
        raise ValueError("no accuracies to draw: the list is empty")
    read = {name: demand_shape(name, values, (len(tasks),)) for name, values in systems.items()}
    width, places = 0.8 / len(read), np.arange(len(tasks))
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
        ax = figure.subplots()
        for number, (name, values) in enumerate(read.items()):
            at = places + (number - (len(read) - 1) / 2) * width
            ax.bar(at, 100 * values, width, color=COLOURS[number % len(COLOURS)], label=name)
        ax.set_xticks(places, tasks)
        ax.set(ylabel="accuracy (%)", ylim=(0, 100))
        ax.grid(visible=False, axis="x")
        figure.legend(loc="outside upper center", ncols=2)
    return figure
