"""Figures against the length T of the sequences, in the style of `style.py`."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator
from numpy.typing import ArrayLike

from analysis.figures.fonts import lay_out
from analysis.figures.style import (
    GREY,
    PAGE,
    SETTINGS,
    Figure,
    add_legend,
    checked,
    decades,
    demand_names,
    panel_grid,
    styles_of,
)

Curve = Mapping[str, ArrayLike]  # columns of one length
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKER_SIZE = 4.0
ROW = 0.04  # of a panel's height, between the open markers of nets that didn't solve a length


def steps_to_solve(panels: Mapping[str, Mapping[str, Curve]], *, limit: int) -> Figure:
    """Plots the training steps until a task is solved against T: one panel per task, one line per net.

    A curve is `{"length": [n], "steps": [n]}`, with NaN where it wasn't solved in `limit` steps. Such lengths have
    open markers in a strip without a scale above the panel, in which each net has its own row.
    """
    demand_names(panels, "steps to solve")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    appearance = looks(names)
    read = {
        title: {name: columns(name, curve, "length", "steps") for name, curve in curves.items()}
        for title, curves in panels.items()
    }
    every = [curve for curves in read.values() for curve in curves.values()]
    solved = np.concatenate([steps[np.isfinite(steps)] for _, steps in every])
    low = 10 ** np.floor(np.log10(solved.min(initial=limit)) - 0.05)
    all_lengths = np.concatenate([lengths for lengths, _ in every])
    room = max(all_lengths.max() / all_lengths.min(), 1.5) ** 0.08
    ends = (all_lengths.min() / room, all_lengths.max() * room)
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(panels, 2.4, "length of the sequences, $T$", "training steps until solved")
        for i, (ax, curves) in enumerate(zip(axes, read.values(), strict=True)):
            ax.set(xscale="log", yscale="log", ylim=(low, limit))
            mark_lengths(ax, [lengths for lengths, _ in every])
            ax.set_xlim(*ends)
            strip = strip_above(ax, len(names), "not\nsolved" if i == 0 else "")
            for name, (lengths, steps) in curves.items():
                ax.plot(lengths, steps, markersize=MARKER_SIZE, label=name, clip_on=False, **appearance[name])
                failed = lengths[np.isnan(steps)]
                row = np.full(failed.shape, float(names.index(name)))
                hollow: dict[str, Any] = appearance[name] | {"linestyle": "none", "markerfacecolor": "none"}
                strip.plot(failed, row, markersize=MARKER_SIZE, label=f"{name}, not solved", **hollow)
            strip.set(xscale="log", xlim=ends)
            strip.set_xticks(ax.get_xticks(), [""] * len(ax.get_xticks()))
            strip.xaxis.set_minor_locator(NullLocator())
        handles = [
            Line2D([], [], markersize=MARKER_SIZE, label=name, **look) for name, look in appearance.items()
        ]
        hollow = {"marker": "o", "ls": "none", "markerfacecolor": "none", "color": GREY}
        label = f"above: not solved in {limit:,} steps"
        handles.append(Line2D([], [], markersize=MARKER_SIZE, label=label, **hollow))
        add_legend(figure, handles)
        lay_out(figure)  # a strip grows with its panel: the layout needs one more round
    return figure


def tokens_per_second(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Plots tokens per second against T: one panel per cell, one line per method.

    A curve is `{"length": [n], "rate": [n]}`; true entries of `"fallen" [n]`, if given, have open markers: there
    the method fell back to another.
    """
    demand_names(panels, "rates")
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    appearance = looks(names)
    read = {
        title: {name: columns(name, curve, "length", "rate") for name, curve in curves.items()}
        for title, curves in panels.items()
    }
    every = [curve for curves in read.values() for curve in curves.values()]
    rates = np.concatenate([rate[rate > 0] for _, rate in every])
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(panels, 2.0, "length of the sequences, $T$", "tokens per second")
        fallen_anywhere = False
        for ax, (title, curves) in zip(axes, read.items(), strict=True):
            ax.set(xscale="log", yscale="log", ylim=10 ** decades(np.log10(rates)))
            mark_lengths(ax, [lengths for lengths, _ in every])
            for name, (lengths, rate) in curves.items():
                ax.plot(lengths, rate, markersize=MARKER_SIZE, label=name, **appearance[name])
                fallen = np.asarray(panels[title][name].get("fallen", np.zeros(len(lengths))), bool)
                hollow: dict[str, Any] = appearance[name] | {"linestyle": "none", "markerfacecolor": "white"}
                ax.plot(
                    lengths[fallen], rate[fallen], markersize=MARKER_SIZE, label=f"{name}, fallen", **hollow
                )
                fallen_anywhere |= bool(fallen.any())
        handles = [
            Line2D([], [], markersize=MARKER_SIZE, label=name, **look) for name, look in appearance.items()
        ]
        if fallen_anywhere:
            open_marker: dict[str, Any] = {
                "color": GREY,
                "marker": "o",
                "ls": "none",
                "markerfacecolor": "white",
            }
            handles.append(
                Line2D([], [], markersize=MARKER_SIZE, label="open: fell back to scan", **open_marker)
            )
        add_legend(figure, handles)
    return figure


def seconds_against_length(curves: Mapping[str, Curve]) -> Figure:
    """Plots the seconds of a training step, forward and backward, against T, all nets and methods in one panel.

    A curve is `{"length": [n], "seconds": [n]}`. Dotted guides rise as T and as T² from the fastest at the shortest
    length.
    """
    demand_names(curves, "seconds")
    read = {name: columns(name, curve, "length", "seconds") for name, curve in curves.items()}
    lengths = np.unique(np.concatenate([lengths for lengths, _ in read.values()]))
    seconds = np.concatenate([seconds for _, seconds in read.values()])
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(0.75 * PAGE, 2.8), layout="constrained")
        ax = figure.add_subplot()
        ax.set(xscale="log", yscale="log", ylim=10 ** decades(np.log10(seconds)))
        ax.set(xlabel="length of the sequences, $T$", ylabel="seconds, forward and backward")
        mark_lengths(ax, [lengths])
        appearance = looks(read)
        for name, (at, values) in read.items():
            ax.plot(at, values, markersize=MARKER_SIZE, label=name, **appearance[name])
        handles = [
            Line2D([], [], markersize=MARKER_SIZE, label=name, **look) for name, look in appearance.items()
        ]
        for power, dots in ((1, (1, 2)), (2, (1, 1))):
            guide: dict[str, Any] = {"color": GREY, "lw": 0.8, "ls": (0, dots)}
            ax.plot(lengths, seconds.min() * (lengths / lengths.min()) ** power, **guide)
            handles.append(Line2D([], [], label="∝ T" if power == 1 else "∝ T²", **guide))
        add_legend(figure, handles)
    return figure


def strip_above(ax: Axes, rows: int, label: str) -> Axes:
    """Adds a strip above a panel, below its title, with rows and no ticks, for values off the panel's axis."""
    height = ROW * (rows + 1)
    strip = ax.inset_axes((0.0, 1.03, 1.0, height))
    strip.set(ylim=(rows, -1.0), yticks=[], facecolor="#f5f5f5")
    strip.set_ylabel(label, rotation=0, ha="right", va="center")
    strip.tick_params(length=0)
    ax.set_title(ax.get_title(), y=1.03 + height)  # the panel's own, for which the layout leaves room
    return strip


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns colour, dashes and marker of each name, by its position."""
    styles = styles_of(names)
    return {name: look | {"marker": MARKERS[i % 8]} for i, (name, look) in enumerate(styles.items())}


def columns(name: str, curve: Curve, *keys: str) -> tuple[np.ndarray, ...]:
    """Returns the columns of a curve, of equal length. Raises ValueError if one is missing or shorter."""
    missing = [key for key in keys if key not in curve]
    if missing:
        raise ValueError(f"curve {name!r} has {sorted(curve)}; expected {' and '.join(map(repr, keys))}")
    found = tuple(
        checked(f"column {key!r} of curve {name!r}", np.asarray(curve[key], np.float64), "[n]")
        for key in keys
    )
    if len({column.size for column in found}) > 1:
        sizes = ", ".join(f"{column.size} of {key!r}" for key, column in zip(keys, found, strict=True))
        raise ValueError(f"curve {name!r} has {sizes}: give equal numbers")
    return found


def mark_lengths(ax: Axes, lengths: list[np.ndarray]) -> None:
    """Puts ticks at the lengths themselves, on a logarithmic axis, thinned out if they would overlap."""
    ticks = np.unique(np.concatenate(lengths))
    ticks = ticks[:: -(-len(ticks) // 6)]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.08)
