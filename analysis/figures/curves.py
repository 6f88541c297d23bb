"""Training curves: a quantity against the training step, in the style of `style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    SETTINGS,
    add_legend,
    count_along,
    demand_names,
    draw_line,
    entries,
    logged_column,
    styles_of,
    wrapped,
)


def training_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    y_label: str,
    baseline: float | None = None,
    baseline_label: str = "trivial baseline",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Plots a quantity such as an accuracy against the training step, one line per name, on a linear axis.

    Each value is `{"step": [n], "value": [n]}`; `y_label` names the quantity and its unit. `baseline`, the value of
    the trivial answer, is a thin dashed line. `colours` are those of the names in another figure of the same run.
    """
    demand_names(curves, "training curves")
    logged = {
        name: (logged_column(name, curve, "step"), logged_column(name, curve, "value"))
        for name, curve in curves.items()
    }
    for name, (steps, values) in logged.items():
        if steps.size != values.size:
            raise ValueError(
                f"curve {name!r} has {steps.size} steps and {values.size} values; give equal numbers"
            )
    every = np.concatenate([steps for steps, _ in logged.values()])
    styles = styles_of(curves)
    for name, colour in (colours or {}).items():
        styles[name]["color"] = colour
    handles = entries(styles)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.2), layout="constrained")
        ax = figure.subplots()
        ax.set(xlabel="training step", ylabel=wrapped(y_label, 26))  # letters that fit the height
        for name, (steps, values) in logged.items():
            draw_line(ax, steps, values, label=name, **styles[name])
        if baseline is not None:
            handles.append(ax.axhline(baseline, color=GREY, lw=0.9, ls="--", label=baseline_label))
        count_along(ax, every.min(), every.max(), ticks=5)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        add_legend(figure, handles)
    return figure


def loss_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    y_label: str,
    baseline: float | None = None,
    baseline_label: str = "trivial baseline",
) -> Figure:
    """Plots `training_curves` on a logarithmic axis, its numbers written out where they are short."""
    values = {name: logged_column(name, curve, "value") for name, curve in curves.items()}
    positive = {
        name: {**curve, "value": np.where(values[name] > 0, values[name], np.nan)}
        for name, curve in curves.items()
    }
    figure = training_curves(positive, y_label=y_label, baseline=baseline, baseline_label=baseline_label)
    with style.context(SETTINGS, after_reset=True):
        ax = figure.axes[0]
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        if low > 0.01 and high < 10_000:
            ax.yaxis.set_major_formatter(LogFormatter())
            ax.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))
    return figure


def curves_against_minutes(
    curves: Mapping[str, Mapping[str, ArrayLike]], *, y_label: str, baselines: Mapping[str, float]
) -> Figure:
    """Plots a quantity such as an accuracy against the minutes of training, or the seconds where all end within two
    minutes, one line per name, on linear axes.

    Each value is `{"minutes": [n], "value": [n]}`; baselines are dashed grey lines with their names beside them.
    """
    demand_names(curves, "training curves")
    styles = styles_of(curves)
    longest = max(logged_column(name, curve, "minutes").max() for name, curve in curves.items())
    unit, factor = ("seconds", 60) if longest < 2 else ("minutes", 1)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 3.0), layout="constrained")
        ax = figure.subplots()
        ax.set(xlabel=f"{unit} of training", ylabel=y_label)
        for name, curve in curves.items():
            times, values = (
                factor * logged_column(name, curve, "minutes"),
                logged_column(name, curve, "value"),
            )
            draw_line(ax, times, values, label=name, **styles[name])
            ax.plot(times[-1:], values[-1:], "o", ms=4, color=styles[name]["color"])
        for name, value in baselines.items():
            ax.axhline(value, color=GREY, lw=0.8, ls="--")
            ax.annotate(name, (1, value), (4, 0), ("axes fraction", "data"), "offset points", va="center")
        ax.set_xlim(left=0)
        add_legend(figure, entries(styles))
    return figure
