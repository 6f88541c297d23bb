"""Scores against the length of sentences."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLUMN,
    SETTINGS,
    Figure,
    add_legend,
    demand_names,
    demand_shape,
    draw_line,
    entries,
    styles_of,
)


def scores_against_words(scores: Mapping[str, ArrayLike], bounds: Sequence[int], label: str) -> Figure:
    """Plots scores of 0 … 1 `[n]` against the number of words of a sentence, whose n ranges go from each of n + 1
    bounds to below the next; NaN where there is no sentence."""
    demand_names(scores, "scores")
    styles = styles_of(scores)
    middles = (np.asarray(bounds[:-1]) + np.asarray(bounds[1:]) - 1) / 2
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.3), layout="constrained")
        ax = figure.subplots()
        ax.set(xlabel="words of a sentence", ylabel=label)
        for name, values in scores.items():
            values = demand_shape(f"scores of {name!r}", values, (len(middles),))
            draw_line(ax, middles, values, label=name, **styles[name])
        ax.set_ylim(0, 1.02)
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        add_legend(figure, entries(styles))
    return figure
