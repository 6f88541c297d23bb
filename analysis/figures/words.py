"""Sentences whose words are coloured by a number each: weights of attention, or what a net says at every word."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps, style
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.fonts import FAMILIES, glyphs_missing
from analysis.figures.style import GREY, PAGE, SETTINGS, STEPS, Figure, checked

SIZE = 6.5  # of the letters, in points
LINE, GAP = 1.7, 0.5  # of a line, and between words, in letter sizes
ACROSS = 72 * PAGE / SIZE  # the page in letter sizes
FOOT = 0.6  # inches for the scale


class WordRow(NamedTuple):
    """The T words of a sentence, a number for each `[T]`, and what stands in front of it."""

    words: Sequence[str]
    values: ArrayLike
    title: str = ""


class Placed(NamedTuple):
    """A text at a place of the page, in letter sizes, with the number of a word."""

    x: float
    line: float
    text: str
    value: float | None = None


def words_figure(
    rows: Sequence[WordRow], label: str, *, signed: bool = False, headings: Sequence[str] = ()
) -> Figure:
    """Draws sentences below one another, each word on a box whose colour is its number.

    The scale, named `label`, ends at the largest number, or with `signed` is −1 … 1. With `headings` the sentences
    stand row by row in as many columns, under these. A sentence wider than its column continues on the next line.

    Raises ValueError for no sentence, or one whose numbers don't fit its words.
    """
    if not rows:
        raise ValueError("no sentences to draw: the list is empty")
    top = 1.0
    for row in rows:
        values = checked(f"values of {row.title!r}", np.asarray(row.values, np.float64), "[T]")
        if len(values) != len(row.words):
            raise ValueError(
                f"there are {len(values)} values for the {len(row.words)} words of {row.title!r}"
            )
    if not signed:
        top = max(float(np.max(np.asarray(row.values, np.float64))) for row in rows) or 1.0
    scale, colours = Normalize(-top if signed else 0, top), colormaps["RdBu" if signed else "Oranges"]
    placed, lines = place(rows, headings)
    with style.context(SETTINGS, after_reset=True):
        height = lines * LINE * SIZE / 72
        figure = Figure(figsize=(PAGE, height + FOOT))
        ax = figure.add_axes((0, FOOT / (height + FOOT), 1, height / (height + FOOT)))
        ax.set(xlim=(0, ACROSS), ylim=(lines * LINE, 0))
        ax.axis("off")
        for x, line, text, value in placed:
            middle, colour = LINE * (line + 0.5), GREY
            if value is not None:
                width = width_of(text) + GAP
                box = (x - GAP / 2, middle - 0.75)
                ax.add_patch(Rectangle(box, width, 1.5, color=colours(scale(value)), lw=0))
                colour = "white" if abs(value) > 0.65 * top else "black"
            escaped = text.replace("$", r"\$")
            ax.text(x, middle, escaped, size=SIZE, va="center_baseline", color=colour)
        bar = figure.add_axes((0.3, (FOOT - 0.15) / (height + FOOT), 0.4, 0.08 / (height + FOOT)))
        figure.colorbar(
            ScalarMappable(scale, colours),
            cax=bar,
            orientation="horizontal",
            label=label,
            ticks=MaxNLocator(4, steps=STEPS),
        )
    return figure


def place(rows: Sequence[WordRow], headings: Sequence[str]) -> tuple[list[Placed], float]:
    """Returns the places of all titles and words, and the number of lines."""
    columns = max(len(headings), 1)
    across, line = ACROSS / columns, 1.2 if headings else 0.0
    placed = [Placed(column * across, 0.0, text) for column, text in enumerate(headings)]
    indent = 1 + max(width_of(row.title) for row in rows)
    for first in range(0, len(rows), columns):
        last = line
        for column, row in enumerate(rows[first : first + columns]):
            left, right = column * across + indent, (column + 1) * across
            x, y = left, line
            placed.append(Placed(column * across, y, row.title))
            for word, value in zip(row.words, np.asarray(row.values, np.float64).tolist(), strict=True):
                width = width_of(word)
                if x > left and x + width + GAP > right:
                    x, y = left, y + 1
                placed.append(Placed(x, y, word, value))
                x += width + GAP
            last = max(last, y)
        line = last + 1.2
    return placed, line


def width_of(text: str) -> float:
    """Returns the width of a text in letter sizes."""
    if not text.strip():
        return 0.3 * len(text)
    font = FontProperties(family=FAMILIES, size=SIZE)
    with glyphs_missing():
        return float(TextPath((0, 0), text.replace("$", r"\$"), prop=font).get_extents().x1) / SIZE
