"""Figures of the influence of the past by lag, in the style of `style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from analysis.figures.style import (
    GREY,
    PAGE,
    SETTINGS,
    Figure,
    Numbers,
    add_legend,
    count_along,
    decades,
    demand_names,
    draw_band,
    draw_line,
    entries,
    panel_grid,
    quartiles,
    styles_of,
)

DEEPEST = 12  # decades below the largest value that are shown
HARMONIC = "1/n, through the total at lag 1"
EXPONENTIAL = "exp(λ₁ n), through recurrence at lag 1"


def influence_by_path(
    panels: Mapping[str, Mapping[str, ArrayLike]], exponents: Mapping[str, float] | None = None
) -> Figure:
    """Plots the influence of an input on an output n steps later by the paths that it takes, one panel per net.

    Each panel maps names of paths, among them "total", to norms `[K]` or, of N examples, `[K, N]` at lags n = 0 …
    K − 1 (`analysis.influence_by_path`, from the output backward). The line is the median, the band of the total
    spans the quartiles. 1/n is the gradient that uniform attention keeps (Kerg et al. 2020); `exponents` gives the
    panel's λ₁ of the recurrence, whose e^(λ₁ n) is drawn through its line. At most `DEEPEST` decades are shown.
    """
    demand_names(panels, "influence by path")
    read = {
        title: {name: quartiles(f"norms of {name!r}, {title}", value) for name, value in paths.items()}
        for title, paths in panels.items()
    }
    styles = styles_of(name for paths in panels.values() for name in paths)
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(
            panels, 2.0, "lag $n$ (steps)", r"influence $\|\partial y_t\,/\,\partial x_{t-n}\|$"
        )
        log_axis(axes[0], [rows for paths in read.values() for rows in paths.values()])
        for ax, (title, paths) in zip(axes, read.items(), strict=True):
            for name, (low, middle, high) in paths.items():
                lags = np.arange(middle.size)
                if name == "total":
                    draw_band(ax, lags, low, high, styles[name]["color"])
                draw_line(ax, lags, positive(middle), label=name, **styles[name])
            lags = np.arange(1, paths["total"].shape[1])
            ax.plot(lags, paths["total"][1, 1] / lags, color=GREY, lw=0.9, ls=":")
            if exponents and title in exponents and "recurrence" in paths:
                falling = paths["recurrence"][1, 1] * np.exp(exponents[title] * (lags - 1.0))
                draw_line(ax, lags, falling, label=EXPONENTIAL, color="black", lw=0.7)
        count_along(
            axes[0], 0, max(rows.shape[1] for paths in read.values() for rows in paths.values()) - 1, 5
        )
        handles = [*entries(styles), Line2D([], [], color=GREY, lw=0.9, ls=":", label=HARMONIC)]
        if exponents:
            handles.append(Line2D([], [], color="black", lw=0.7, label=EXPONENTIAL))
        if any(np.ndim(paths["total"]) == 2 for paths in panels.values()):
            band = Patch(color=styles["total"]["color"], alpha=0.25, lw=0, label="quartiles of the total")
            handles.append(band)
        add_legend(figure, handles)
    return figure


def gradient_by_distance(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    *,
    y_label: str = r"gradient norm $\|\partial\ell\,/\,\partial e_{t-n}\|$",
    x_label: str = "distance $n$ (tokens before the last one read)",
) -> Figure:
    """Plots the gradient norm ‖∂ℓ/∂e_{t−n}‖ of the loss of one token with respect to the embedding read n steps
    before, before and after training, one line per net; with other labels, of another loss.

    Each value is `[K]` or, of N examples, `[K, N]` at distances n = 0 … K − 1: then the line is their median and
    the band spans the quartiles.
    """
    given = {"before training": before, "after training": after}
    read: dict[str, dict[str, Numbers]] = {}
    for title, norms in given.items():
        demand_names(norms, f"gradient norms {title}")
        read[title] = {name: quartiles(f"norms of {name!r} {title}", value) for name, value in norms.items()}
    styles = styles_of([*before, *after])
    rows = [rows for nets in read.values() for rows in nets.values()]
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set_ylabel(y_label)
        log_axis(axes[0], rows)
        for ax, (title, nets) in zip(axes, read.items(), strict=True):
            for name, (low, middle, high) in nets.items():
                distances = np.arange(middle.size)
                draw_band(ax, distances, low, high, styles[name]["color"])
                draw_line(ax, distances, positive(middle), label=name, **styles[name])
            ax.set(title=title, xlabel=x_label)
        count_along(axes[0], 0, max(each.shape[1] for each in rows) - 1, ticks=7)
        handles = entries(styles)
        if any(np.ndim(value) == 2 for norms in given.values() for value in norms.values()):
            handles.append(Patch(color=GREY, alpha=0.3, lw=0, label="quartiles over examples"))
        add_legend(figure, handles)
    return figure


def log_axis(ax: Axes, rows: list[Numbers]) -> None:
    """Sets a log axis for quartiles `[3, K]` each, with at most `DEEPEST` decades below the largest median."""
    medians = np.concatenate([each[1] for each in rows])
    low, high = decades(np.log10(medians[medians > 0]))
    ax.set_yscale("log")
    ax.set_ylim(10.0 ** max(low, high - DEEPEST), 10.0**high)


def positive(values: Numbers) -> Numbers:
    """Returns the values with NaN in place of zeros, which a log axis can't show."""
    return np.where(values > 0, values, np.nan)
