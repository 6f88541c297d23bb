"""Alignments: for each of several sentences, the weights with which every target token attends to the source."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from analysis.figures.attention import label
from analysis.figures.style import PAGE, SETTINGS, checked, wrapped


class Alignment(NamedTuple):
    """A sentence's weights `[T, L]`, rows the T tokens of the target, columns the L of the source."""

    weights: ArrayLike
    targets: Sequence[str]
    sources: Sequence[str]
    title: str = ""


def alignments_figure(alignments: Sequence[Alignment], columns: int = 3) -> Figure:
    """Draws one image a sentence, dark where a target token attends to a source token; the scale is 0 … 1.

    Raises ValueError for no sentence, or weights that don't fit the tokens."""
    if not alignments:
        raise ValueError("no alignments to draw: the list is empty")
    arrays = [
        checked(f"weights of {found.title!r}", np.asarray(found.weights, np.float64), "[T, L]")
        for found in alignments
    ]
    for found, weights in zip(alignments, arrays, strict=True):
        if weights.shape != (len(found.targets), len(found.sources)):
            raise ValueError(
                f"weights of {found.title!r} have shape {list(weights.shape)}; expected "
                f"[{len(found.targets)}, {len(found.sources)}], the target tokens by the source tokens"
            )
    columns = min(columns, len(alignments))
    rows = math.ceil(len(alignments) / columns)
    tallest = [
        max(len(weights) / weights.shape[1] for weights in arrays[row * columns : (row + 1) * columns])
        for row in range(rows)
    ]
    with style.context(SETTINGS, after_reset=True):
        # A row is as high as its tallest image, and the labels of the source above it.
        width = PAGE / columns
        heights = [0.75 * width * min(ratio, 2) + 0.65 for ratio in tallest]
        figure = Figure(figsize=(PAGE, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(rows, columns, height_ratios=heights)
        for i, (found, weights) in enumerate(zip(alignments, arrays, strict=True)):
            ax = figure.add_subplot(grid[divmod(i, columns)])
            ax.imshow(weights, cmap="Greys", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
            ax.set_title(wrapped(found.title, 40))
            ax.grid(visible=False)
            ax.tick_params(length=0)
            label(ax.set_yticks, found.targets)
            label(ax.set_xticks, found.sources, rotation=90)
    return figure
