"""Figures of Lyapunov spectra: against a random net's gain with theory, during training, and against length.

In the style of `style.py`: without computation, and values that an axis can't show are left out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLOURS,
    GREY,
    PAGE,
    SETTINGS,
    Figure,
    add_legend,
    checked,
    count_along,
    demand_names,
    demand_shape,
    draw_line,
    entries,
    panel_grid,
    styles_of,
)

Columns = Mapping[str, ArrayLike]
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
FALLING = "viridis_r"  # of ordered lines: light first, so that the last stands out


def column(name: str, columns: Columns, key: str) -> np.ndarray:
    """Returns one column of a mapping, `[n]`. Raises ValueError unless it is as long as the first."""
    if key not in columns:
        raise ValueError(f"columns of {name!r} are {sorted(columns)}; expected {key!r} among them")
    return checked(f"column {key!r} of {name!r}", np.asarray(columns[key], np.float64), "[n]")


def random_nets(measured: Mapping[str, Columns], theory: Mapping[str, Columns]) -> Figure:
    """Plots λ₁, the mean exponent, Kaplan–Yorke dimension and entropy rate per unit against the gain g.

    `measured[name]` has `gain`, `first` and half its 95 % interval `error`, `mean`, `dimension`, `entropy`, all
    `[n]`, and may have `other [m, 4]`: gain, λ₁, its `error` and number of starts for regimes with fewer starts;
    `theory[name]` has `gain`, `first`, `mean`, drawn as thin lines in the same colour.
    """
    demand_names(measured, "random nets")
    styles = styles_of(measured)
    panels = {
        "first": ("largest exponent", r"$\lambda_1$ (nats per step)"),
        "mean": ("mean of all exponents", r"$\Sigma_i\lambda_i\,/\,N$ (nats per step)"),
        "dimension": ("Kaplan–Yorke dimension", r"$D_{\mathrm{KY}}\,/\,N$"),
        "entropy": ("entropy rate", r"$h\,/\,N$ (nats per step)"),
    }
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 4.3), layout="constrained")
        axes = dict(zip(panels, figure.subplots(2, 2, sharex=True).flat, strict=True))
        for key, ax in axes.items():
            ax.set(title=panels[key][0], ylabel=panels[key][1])
            for name, columns in theory.items():
                if key in columns:
                    x, y = column(name, columns, "gain"), column(name, columns, key)
                    ax.plot(x, np.where(np.isfinite(y), y, np.nan), color=styles[name]["color"], lw=1)
            for i, (name, columns) in enumerate(measured.items()):
                x, y = column(name, columns, "gain"), column(name, columns, key)
                error = column(name, columns, "error") if key == "first" else np.zeros(x.shape)
                shown = np.isfinite(y)
                # The first names have larger markers, so that coinciding ones are visible.
                size = 4 + 1.6 * (len(measured) - 1 - i)
                look: dict[str, Any] = {"color": styles[name]["color"], "marker": MARKERS[i % 8], "ms": size}
                ax.errorbar(x[shown], y[shown], error[shown], ls="none", mfc="none", mew=1.1, **look)
                if key == "first" and np.size(columns.get("other", ())):
                    x, y, error, _ = np.asarray(columns["other"], np.float64).T
                    ax.errorbar(x, y, error, ls="none", alpha=0.5, **look)
            if key in ("first", "mean"):
                ax.axhline(0, color=GREY, lw=0.8)
        for key in ("dimension", "entropy"):
            axes[key].set(xlabel="gain $g$")
        hollow: dict[str, Any] = {"ms": 4, "mfc": "white", "ls": "none"}
        marks = [
            Line2D([], [], color=styles[name]["color"], marker=MARKERS[i % 8], label=name, **hollow)
            for i, name in enumerate(measured)
        ]
        add_legend(figure, [*marks, Line2D([], [], color=GREY, lw=1, label="mean-field theory")])
    return figure


def spectra_by_value(
    panels: Mapping[str, tuple[ArrayLike, ArrayLike]],
    label: str,
    y_label: str = r"exponent $\lambda_i$ (nats per step)",
) -> Figure:
    """Plots whole spectra, λ_i against i/S, one panel per name, one line for each value of a parameter.

    A panel is `(values [n], exponents [n, k])`; all share the colours of the values, whose name is `label`. Lines
    end at exponents of −∞. The lowest hundredth of all may lie below the panel.
    """
    demand_names(panels, "spectra")
    read = {
        name: (
            checked(f"values of {name!r}", np.asarray(values, np.float64), "[n]"),
            checked(f"exponents of {name!r}", np.asarray(exponents, np.float64), "[n, k]"),
        )
        for name, (values, exponents) in panels.items()
    }
    every = np.unique(np.concatenate([values for values, _ in read.values()]))
    finite = np.concatenate([e[np.isfinite(e)] for _, e in read.values()])
    colours = ScalarMappable(Normalize(0, max(len(every) - 1, 1)), FALLING)
    shades = colours.to_rgba(np.arange(len(every)))
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(panels, 2.2, "$i\\,/\\,S$", y_label)
        # The smallest few are far below the others (a random matrix is nearly singular in one direction).
        low, high = np.quantile(finite, [0.01, 1.0])
        axes[0].set_ylim(low - 0.05 * (high - low), high + 0.08 * (high - low))
        for ax, (values, exponents) in zip(axes, read.values(), strict=True):
            for value, line in zip(values, exponents, strict=True):
                place = int(np.searchsorted(every, value))
                x = np.arange(1, len(line) + 1) / len(line)
                draw_line(ax, x, line, label=f"{value:g}", color=tuple(shades[place]), lw=1.1)
            ax.axhline(0, color=GREY, lw=0.8)
            ax.set_xlim(0, 1.02)
            ax.set_xticks([0, 0.5, 1], ["0", "½", "1"])
        bar = figure.colorbar(colours, ax=axes, label=label, aspect=25, pad=0.02)
        shown = np.arange(len(every))[:: -(-len(every) // 9)]
        bar.set_ticks(list(shown), labels=[f"{every[i]:,g}" for i in shown])
    return figure


def during_training(cells: Mapping[str, Columns], metric: str, *, log: bool = False) -> Figure:
    """Plots λ₁ with the task's input and without, dimension and a metric against the training step.

    Each value has `step [n]`, `driven|first` and half its 95 % interval `driven|error`, `silent|first` and
    `silent|error`, `dimension` (a fraction of S) and `metric`, `[n]` each; `metric` names the last, whose axis is
    logarithmic with `log`.
    """
    demand_names(cells, "cells")
    styles = styles_of(cells)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 4.3), layout="constrained")
        axes = figure.subplots(2, 2, sharex=True)
        driven, silent, dimension, learnt = axes.flat
        silent.sharey(driven)
        steps = []
        for name, columns in cells.items():
            look, x = styles[name], column(name, columns, "step")
            for ax, way in ((driven, "driven"), (silent, "silent")):
                first, error = column(name, columns, f"{way}|first"), column(name, columns, f"{way}|error")
                draw_line(ax, x, first, label=name, **look)
                ax.fill_between(x, first - error, first + error, color=look["color"], alpha=0.25, lw=0)
            draw_line(dimension, x, column(name, columns, "dimension"), label=name, **look)
            draw_line(learnt, x, column(name, columns, "metric"), label=name, **look)
            steps.append(x)
        driven.set(title="along the task's input", ylabel=r"$\lambda_1$ (nats per step)")
        silent.set(title="with no input", ylabel=r"$\lambda_1$ (nats per step)")
        dimension.set(title="Kaplan–Yorke dimension, along the input", ylabel=r"$D_{\mathrm{KY}}\,/\,S$")
        learnt.set(title="what was learnt", ylabel=metric)
        for ax in (driven, silent):
            ax.axhline(0, color=GREY, lw=0.8)
        for ax in (dimension, learnt):
            ax.set(xlabel="training step")
        dimension.set_ylim(bottom=-0.03 * dimension.get_ylim()[1])
        if log:
            learnt.set_yscale("log")
        every = np.concatenate(steps)
        count_along(driven, every.min(), every.max(), ticks=6)
        driven.xaxis.set_major_formatter("{x:,.0f}")
        add_legend(figure, entries(styles))
    return figure


def running_estimates(spectra: Mapping[str, Columns]) -> Figure:
    """Plots the leading exponents estimated from the first T steps against T, one panel per name.

    Each value has `steps [n]`, `running [n, j]`, and `mean [j]` over several starts with half its 95 % interval,
    `half_width [j]`, drawn as a bar at the end. Estimates of −∞ are left out.
    """
    demand_names(spectra, "running estimates")
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(
            spectra, 2.0, "steps counted, $T$", r"estimate of $\lambda_i$ (nats per step)"
        )
        count = 0
        for ax, (name, columns) in zip(axes, spectra.items(), strict=True):
            steps = column(name, columns, "steps")
            running = np.asarray(columns["running"], np.float64)
            demand_shape(f"running estimates of {name!r}", running, (len(steps), running.shape[1]))
            means, widths = column(name, columns, "mean"), column(name, columns, "half_width")
            count = max(count, running.shape[1])
            ax.set(xscale="log")
            for i in range(running.shape[1]):
                colour = COLOURS[i % 8]
                draw_line(ax, steps, running[:, i], label=f"{i + 1}", color=colour)
                draw_end(ax, float(steps[-1]), float(means[i]), float(widths[i]), colour)
            ax.axhline(0, color=GREY, lw=0.8)
        lines = [
            Line2D([], [], color=COLOURS[i % 8], label=f"λ{i + 1}".translate(BELOW)) for i in range(count)
        ]
        bar = Line2D(
            [],
            [],
            color=GREY,
            ls="none",
            marker="|",
            ms=7,
            label="at the end: mean over the starts, 95 % interval",
        )
        add_legend(figure, [*lines, bar])
    return figure


def draw_end(ax: Axes, x: float, y: float, error: float, colour: str) -> None:
    """Draws an error bar at the last estimate."""
    if np.isfinite(y) and np.isfinite(error):
        ax.errorbar([x], [y], [error], color=colour, capsize=2.5, lw=1)
