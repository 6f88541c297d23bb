"""Training curves: a quantity against the training step, in the style of `style.py`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    SETTINGS,
    Figure,
    add_legend,
    count_along,
    demand_names,
    draw_line,
    entries,
    logged_column,
    styles_of,
    wrapped,
)

Curve = Mapping[str, ArrayLike]


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


def curves_of_variants(
    panels: Mapping[str, Mapping[str, Sequence[Curve]]],
    *,
    y_labels: Mapping[str, str],
    solved_at: Mapping[str, float],
) -> Figure:
    """Plots a metric against the training step, one panel per task, one colour per variant, one line per
    repetition.

    A curve is `{"step": [n], "value": [n]}`; a dot marks the end of its training. `solved_at` is the bound of a
    task: below 0.5 the metric is minimised, and has a logarithmic axis.
    """
    demand_names(panels, "curves of variants")
    styles = styles_of(name for variants in panels.values() for name in variants)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(max(len(panels), 1.4) * PAGE / 2.2, 2.3), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (task, variants) in zip(axes, panels.items(), strict=True):
            last = 1.0
            for name, curves in variants.items():
                for curve in curves:
                    steps, values = (logged_column(name, curve, key) for key in ("step", "value"))
                    draw_line(ax, steps, values, label=name, **styles[name])
                    ax.plot(
                        steps[-1], values[-1], marker="o", ms=4, color=styles[name]["color"], clip_on=False
                    )
                    last = max(last, steps[-1])
            ax.axhline(solved_at[task], color=GREY, lw=0.9, ls=":")
            ax.set(title=task, xlabel="training step", ylabel=y_labels[task])
            ax.set_yscale("log" if solved_at[task] < 0.5 else "linear")
            count_along(ax, 0, last, ticks=5)
            ax.xaxis.set_major_formatter("{x:,.0f}")
        solved = Line2D([], [], color=GREY, lw=0.9, ls=":", label="counts as solved")
        add_legend(figure, [*entries(styles), solved])
    return figure
