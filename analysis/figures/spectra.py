"""Figures of the singular values of products of Jacobians: before and after training, with theory, conditioning.

In the style of `style.py`. All given logarithms are natural, those on the axes decimal.
"""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLOURS,
    COLUMN,
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    Figure,
    Numbers,
    add_legend,
    checked,
    count_along,
    decades,
    demand_names,
    demand_shape,
    draw_band,
    draw_line,
    entries,
    panel_grid,
    rest_entry,
    rest_line,
    spectrum_rows,
    styles_of,
)

BEFORE, AFTER = COLOURS[0], COLOURS[1]
DEEPEST = 30  # decades below the largest that are shown; further down nothing is to be told apart


def spectra_before_after(
    lags: ArrayLike,
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    rest: Mapping[str, float] | None = None,
) -> Figure:
    """Plots singular values of the products J_T … J_{T−k+1} against the lag before and after training, a panel
    per net.

    `lags [K]`; each value `[K, S]` or `[N, K, S]`, natural logarithms (−∞ for a zero). Shown are the largest, the
    median, and a band between the quartiles; with examples the median over them of each. `rest` are the exponents
    of untrained nets at rest (`rest_exponent`), drawn as lines of the theory.
    """
    demand_names(before, "singular values")
    steps = checked("lags", np.asarray(lags, np.int64), "[K]")
    panels = {
        name: [spectrum_rows(name, spectra[name]) / math.log(10) for spectra in (before, after)]
        for name in before
    }
    low, high = decades(np.concatenate([rows[1:].ravel() for pair in panels.values() for rows in pair]))
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(panels, 1.7, "lag $k$ (steps)", r"$\sigma(J_T \cdots J_{T-k+1})$")
        powers_along(axes[0], max(low, high - DEEPEST), high)
        for ax, (name, pair) in zip(axes, panels.items(), strict=True):
            for rows, colour in zip(pair, (BEFORE, AFTER), strict=True):
                _, lower, middle, upper, largest = demand_shape(
                    f"singular values of {name!r}", rows, (5, len(steps))
                )
                draw_band(ax, steps, lower, upper, colour, alpha=0.25)
                draw_line(ax, steps, largest, label="largest", color=colour)
                draw_line(ax, steps, middle, label="median", color=colour, linestyle="--")
            if rest and name in rest:
                rest_line(ax, steps, steps * rest[name] / math.log(10))
            ax.axhline(0, color=GREY, lw=0.6)
        count_along(axes[0], int(steps[0]), int(steps[-1]), ticks=4)
        handles = [
            Line2D([], [], color=BEFORE, label="before training"),
            Line2D([], [], color=AFTER, label="after"),
            Line2D([], [], color=GREY, label="largest"),
            Line2D([], [], color=GREY, ls="--", label="median"),
            Patch(color=GREY, alpha=0.35, lw=0, label="quartiles"),
            *([rest_entry()] if rest else []),
        ]
        add_legend(figure, handles)
    return figure


def mean_square(
    lags: ArrayLike, measured: Mapping[str, ArrayLike], theory: Mapping[str, ArrayLike]
) -> Figure:
    """Plots the root mean square of the singular values against the lag, `measured[name] [K]` as lines and
    `theory[name] [K]` as thin black ones; natural logarithms."""
    demand_names(measured, "root mean squares")
    steps = checked("lags", np.asarray(lags, np.int64), "[K]")
    lines = {
        name: [
            demand_shape(f"values of {name!r}", v[name], (len(steps),)) / math.log(10)
            for v in (measured, theory)
        ]
        for name in measured
    }
    styles = styles_of(measured)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(1.3 * COLUMN, 2.6), layout="constrained")
        ax = figure.subplots()
        powers_along(ax, *decades(np.concatenate([line for pair in lines.values() for line in pair])))
        for name, (found, expected) in lines.items():
            draw_line(ax, steps, found, label=name, **styles[name])
            draw_line(ax, steps, expected, label=f"theory of {name}", color="black", lw=0.8)
        ax.set(xlabel="lag $k$ (steps)", ylabel=r"root mean square of $\sigma(J_T \cdots J_{T-k+1})$")
        count_along(ax, int(steps[0]), int(steps[-1]), ticks=6)
        black = Line2D([], [], color="black", lw=0.8, label="mean-field theory")
        add_legend(figure, [*entries(styles), black])
    return figure


def condition_numbers(lags: ArrayLike, panels: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """Plots the condition number σ_max/σ_min of the products against the lag: one panel per title, one line per
    net, `[K]` natural logarithms (∞ for a singular product, a gap)."""
    demand_names(panels, "condition numbers")
    steps = checked("lags", np.asarray(lags, np.int64), "[K]")
    read = {
        title: {
            name: demand_shape(f"condition numbers of {name!r}", logs, (len(steps),)) / math.log(10)
            for name, logs in nets.items()
        }
        for title, nets in panels.items()
    }
    styles = styles_of(name for nets in read.values() for name in nets)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, len(read), sharex=True, sharey=True, squeeze=False)[0]
        powers_along(
            axes[0], *decades(np.concatenate([logs for nets in read.values() for logs in nets.values()]))
        )
        for ax, (title, nets) in zip(axes, read.items(), strict=True):
            for name, logs in nets.items():
                draw_line(ax, steps, logs, label=name, **styles[name])
            ax.set(title=title, xlabel="lag $k$ (steps)")
        axes[0].set_ylabel(r"condition number of $J_T \cdots J_{T-k+1}$")
        count_along(axes[0], int(steps[0]), int(steps[-1]), ticks=6)
        add_legend(figure, entries(styles))
    return figure


def powers_along(ax: Axes, low: Numbers | float, high: Numbers | float) -> None:
    """Labels a y axis of decimal logarithms with 10ⁿ, as the values themselves may overflow or underflow."""
    ax.set_ylim(float(low), float(high))
    ax.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
    ax.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
