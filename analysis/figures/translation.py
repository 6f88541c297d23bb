"""Figures of translation models side by side: scores by length and width of search, heads, gradients by place."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    SETTINGS,
    Figure,
    add_legend,
    checked,
    demand_names,
    demand_shape,
    draw_line,
    entries,
    styles_of,
    wrapped,
)

WIDTH_PANELS = ("BLEU", "seconds", "length ratio")


def score_against_length(
    scores: Mapping[str, ArrayLike],
    lengths: Sequence[int],
    *,
    trained: int | None = None,
    label: str = "BLEU",
) -> Figure:
    """Plots the score of each system `[n]` against the sentences joined to a source; a dotted line stands at the
    most that were joined in training."""
    demand_names(scores, "scores")
    styles = styles_of(scores)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.3), layout="constrained")
        ax = figure.subplots()
        ax.set(xlabel="sentences joined to a source", ylabel=label)
        handles = entries(styles)
        for name, values in scores.items():
            values = demand_shape(f"scores of {name!r}", values, (len(lengths),))
            draw_line(ax, np.asarray(lengths), values, label=name, **styles[name])
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if trained is not None:
            ax.axvline(trained, color=GREY, lw=0.9, ls=":")
            handles.append(Line2D([], [], color=GREY, lw=0.9, ls=":", label="longest in training"))
        add_legend(figure, handles)
    return figure


def scores_against_width(panels: Mapping[str, Mapping[str, ArrayLike]], widths: Sequence[int]) -> Figure:
    """Plots what a beam search finds and costs against its width: a panel for each of `WIDTH_PANELS`, which maps
    systems to values `[W]`."""
    if set(panels) != set(WIDTH_PANELS):
        raise ValueError(f"panels are {sorted(panels)}; expected {', '.join(WIDTH_PANELS)}")
    demand_names(panels["BLEU"], "scores")
    styles = styles_of(panels["BLEU"])
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.1), layout="constrained")
        for ax, title in zip(figure.subplots(1, 3), WIDTH_PANELS, strict=True):
            ax.set(xlabel="width of the search", ylabel=title, xscale="log")
            for name, values in panels[title].items():
                values = demand_shape(f"{title} of {name!r}", values, (len(widths),))
                draw_line(ax, np.asarray(widths), values, label=name, **styles[name])
            ax.xaxis.set_major_locator(FixedLocator(thinned(widths)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_locator(NullLocator())
            if title == "seconds":
                ax.set_yscale("log")
                ax.yaxis.set_major_formatter("{x:g}")
                ax.yaxis.set_minor_formatter(NullFormatter())
            if title == "length ratio":
                ax.axhline(1, color=GREY, lw=0.9, ls=":")
        add_legend(figure, entries(styles))
    return figure


def thinned(widths: Sequence[int]) -> list[int]:
    """Returns the widths whose labels don't touch on a log axis: each at least 1.4 times the one before."""
    kept: list[int] = []
    for width in widths:
        if not kept or width >= 1.4 * kept[-1]:
            kept.append(width)
    return kept


def head_figure(layers: Mapping[str, Mapping[str, ArrayLike]], uniform: Mapping[str, float]) -> Figure:
    """Plots how the heads of each layer attend, a point for each head: the `entropy [heads]` of its weights, the
    `distance [heads]` of what it attends to from the diagonal, and its mean divergence from the other heads of the
    layer, of `divergence [heads, heads]`.

    Dotted lines stand at the entropy and distance of `uniform` weights, and at ln 2, heads that share no place."""
    demand_names(layers, "layers")
    styles = styles_of(layers)
    panels: tuple[tuple[str, dict[str, ArrayLike], float], ...] = (
        ("entropy (nats)", {name: found["entropy"] for name, found in layers.items()}, uniform["entropy"]),
        (
            "distance from the diagonal\n(places)",
            {name: found["distance"] for name, found in layers.items()},
            uniform["distance"],
        ),
        (
            "divergence from other heads\n(nats)",
            {name: between_heads(name, found) for name, found in layers.items()},
            math.log(2),
        ),
    )
    aside = 0.07 * (np.arange(len(layers)) - (len(layers) - 1) / 2)  # so that equal points are seen
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.1), layout="constrained")
        for ax, (label, by_layer, limit) in zip(figure.subplots(1, 3, sharex=True), panels, strict=True):
            ax.set(xlabel="head", ylabel=label)
            highest = limit
            for (name, values), shift in zip(by_layer.items(), aside, strict=True):
                points = checked(f"{label} of {name!r}", np.asarray(values, np.float64), "[heads]")
                heads = 1 + shift + np.arange(len(points))
                ax.plot(heads, points, "o:", ms=3.5, lw=0.7, color=styles[name]["color"])
                highest = max(highest, np.nanmax(points, initial=0.0))
            ax.axhline(limit, color=GREY, lw=0.9, ls=":")
            ax.set_ylim(0, 1.08 * highest)
            ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
            ax.margins(x=0.1)
        handles = [
            Line2D([], [], marker="o", ms=3.5, lw=0, color=look["color"], label=name)
            for name, look in styles.items()
        ]
        handles.append(Line2D([], [], color=GREY, lw=0.9, ls=":", label="uniform weights; no place shared"))
        add_legend(figure, handles)
    return figure


def between_heads(name: str, found: Mapping[str, ArrayLike]) -> np.ndarray:
    """Returns the mean divergence of each head from the others of its layer, NaN where it is alone."""
    heads = len(np.asarray(found["entropy"]))
    matrix = demand_shape(f"divergence of {name!r}", found["divergence"], (heads, heads))
    return (matrix.sum(axis=1) - np.diag(matrix)) / (heads - 1) if heads > 1 else np.full(1, np.nan)


def gradient_by_place(
    gradients: Mapping[str, Mapping[str, Mapping[int, ArrayLike]]],
    accuracies: Mapping[str, ArrayLike],
    lengths: Sequence[int],
    *,
    trained: int,
) -> Figure:
    """Plots ‖∂ℓ/∂e_s‖ against the place s of a source of n tokens, a row of panels for each moment, a column for
    each net, a line for each n; and the accuracy after training `[n]` of each net against n.

    `gradients[moment][net][n]` are `[n]`. A dotted line stands at the longest source in training."""
    demand_names(accuracies, "accuracies")
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(lengths)))
    styles = styles_of(accuracies)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 1.75 * len(gradients) + 1.9), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=[1.75 * len(gradients), 1.9])
        grid = parts[0].subplots(len(gradients), len(accuracies), sharex=True, sharey=True, squeeze=False)
        for row, (moment, nets) in zip(grid, gradients.items(), strict=True):
            row[0].set_ylabel(f"{moment}\n" + r"$\|\partial\ell\,/\,\partial e_s\|$")
            for ax, net in zip(row, accuracies, strict=True):
                for n, colour in zip(lengths, colours, strict=True):
                    norms = demand_shape(f"gradients of {net!r} at {n}", nets[net][n], (n,))
                    shown = np.where(norms > 0, norms, np.nan)
                    draw_line(ax, 1 + np.arange(n), shown, label=f"n = {n}", color=colour)
                ax.set_yscale("log")
        for ax, net in zip(grid[0], accuracies, strict=True):
            ax.set_title(wrapped(net, 30))
        for ax in grid[-1]:
            ax.set_xlabel("place $s$ in the source")
        accuracy_panel([*parts[1].subplots(1, 2, width_ratios=[2, 1])], accuracies, lengths, trained, styles)
        handles = [
            Line2D([], [], color=colour, label=f"n = {n}") for n, colour in zip(lengths, colours, strict=True)
        ]
        add_legend(figure, handles)
    return figure


def accuracy_panel(
    axes: Sequence[Axes],
    accuracies: Mapping[str, ArrayLike],
    lengths: Sequence[int],
    trained: int,
    styles: Mapping[str, dict[str, Any]],
) -> None:
    """Draws the accuracies in the left panel, and their legend in place of the right one."""
    ax, beside = axes
    for net, values in accuracies.items():
        values = demand_shape(f"accuracies of {net!r}", values, (len(lengths),))
        draw_line(ax, np.asarray(lengths), values, label=net, **styles[net])
    ax.axvline(trained, color=GREY, lw=0.9, ls=":")
    ax.set(xlabel="length of the source, $n$", ylabel="accuracy, after training", ylim=(0, 1.03))
    beside.axis("off")
    longest = Line2D([], [], color=GREY, lw=0.9, ls=":", label="longest in training")
    beside.legend(handles=[*entries(styles), longest], loc="center left")
