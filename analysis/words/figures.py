"""Figures of word vectors: words in a plane, analogies by section."""

from collections.abc import Sequence

import numpy as np
from matplotlib import style
from numpy.typing import ArrayLike

from analysis.figures.fonts import letters
from analysis.figures.style import COLOURS, GREY, PAGE, SETTINGS, Figure, checked, demand_shape


def word_map(places: ArrayLike, words: Sequence[str], title: str = "") -> Figure:
    """Draws words `[N]` at their places `[N, 2]`, each label beside its point; a label that would cover a point
    or an earlier one is moved around its point, and left out, with the point kept, where there is no room.

    Raises ValueError for places that aren't those of the words."""
    points = demand_shape("places of words", places, (len(words), 2))
    checked("places of words", points, "[N, 2]")
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 0.8 * PAGE), layout="constrained")
        ax = figure.subplots()
        ax.scatter(points[:, 0], points[:, 1], s=4, color=COLOURS[0])
        ax.set(xticks=[], yticks=[], title=title)
        ax.grid(visible=False)
        ax.margins(0.09, 0.05)
        figure.draw_without_rendering()
        pixels = ax.transData.transform(points)
        dot = 0.012 * figure.dpi
        taken = [(x - dot, y - dot, x + dot, y + dot) for x, y in pixels.tolist()]
        height, letter = 0.105 * figure.dpi, 0.062 * figure.dpi
        for word, (x, y) in zip(words, pixels.tolist(), strict=True):
            width = letter * letters(word) + 2
            boxes = {
                "left": (x + 3, y - height / 2),
                "right": (x - 3 - width, y - height / 2),
                "center": (x - width / 2, y + 3),
                "center below": (x - width / 2, y - 3 - height),
            }
            for place, (left, bottom) in boxes.items():
                box = (left, bottom, left + width, bottom + height)
                if not any(overlap(box, other) for other in taken):
                    taken.append(box)
                    side = place.split()[0]
                    anchor = {"left": left, "right": left + width, "center": x}[side]
                    at_x, at_y = ax.transData.inverted().transform((anchor, bottom))
                    ax.text(at_x, at_y, word, fontsize=6.5, va="bottom", ha=side, color=GREY)
                    break
    return figure


def overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Tells whether two boxes (left, bottom, right, top) overlap."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def analogy_bars(shares: dict[str, ArrayLike], sections: Sequence[str]) -> Figure:
    """Draws the share of analogies answered correctly by section, a bar for each of several sets of vectors.

    `shares` are `[sections]` by name; NaN, of a section without a covered question, is left out."""
    rows = {
        name: demand_shape(f"shares of {name!r}", values, (len(sections),)) for name, values in shares.items()
    }
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 0.6 + 0.24 * len(sections)), layout="constrained")
        ax = figure.subplots()
        height = 0.8 / len(rows)
        for i, (name, values) in enumerate(rows.items()):
            at = np.arange(len(sections)) + (i - (len(rows) - 1) / 2) * height
            ax.barh(at, 100 * np.nan_to_num(values), height, color=COLOURS[i], label=name)
        ax.set_yticks(np.arange(len(sections)), list(sections))
        ax.invert_yaxis()
        ax.set_xlabel("analogies answered correctly (%)")
        ax.grid(visible=False, axis="y")
        ax.legend()
    return figure
