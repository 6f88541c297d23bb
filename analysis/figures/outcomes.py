"""Figures of many trainings: outcomes of several seeds against what was varied.

A name has the same colour and mark in every figure given the same names.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLOURS,
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    Figure,
    Numbers,
    add_legend,
    checked,
    decades,
    demand_names,
    demand_shape,
    draw_line,
    panel_grid,
    quantiles,
    styles_of,
    wrapped,
)

Points = Mapping[str, ArrayLike]
"""`{"x": [n], "values": [n, N]}`: N outcomes at each of n points, infinite or NaN for none."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKER_SIZE = 3.5


def outcomes_against(
    panels: Mapping[str, Mapping[str, Points]],
    *,
    x_label: str,
    y_label: str,
    log: str = "",
    limits: tuple[float, float] | None = None,
    levels: Mapping[str, float] | None = None,
    theory: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Figure:
    """Plots outcomes of several seeds: one panel per title, one line per name (median), with bands from min to max.

    `log` names the logarithmic axes ("", "x", "y", "xy"); `limits` are those of y; `levels` are horizontal lines by
    name, `theory` black lines through `(x [n], y [n])`, in every panel.
    """
    demand_names(panels, "outcomes")
    read = {
        title: {name: points(name, given) for name, given in curves.items()}
        for title, curves in panels.items()
    }
    looks = looks_of(name for curves in panels.values() for name in curves)
    every = [pair for curves in read.values() for pair in curves.values()]
    across = np.array(list((levels or {}).values()))
    low, high = limits or limits_of(np.concatenate([across, *(v.ravel() for _, v in every)]), "y" in log)
    handles: list[Artist] = legend_of(looks)
    if any(values.shape[1] > 1 for _, values in every):
        handles.append(Patch(color=GREY, alpha=0.3, lw=0, label="least to most of the seeds"))
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(read, 2.1, x_label, y_label)
        for ax, curves in zip(axes, read.values(), strict=True):
            ax.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
            ax.set_ylim(low, high)
            for name, (x, values) in curves.items():
                draw_outcomes(ax, x, values, looks[name])
            mark_points(ax, [x for x, _ in every], "x" in log)
            for i, (label, level) in enumerate((levels or {}).items()):
                line = ax.axhline(level, color=GREY, lw=0.8, ls=("--", ":", "-.")[i % 3], label=label)
                if ax is axes[0]:
                    handles.append(line)
            for i, (label, (x, y)) in enumerate((theory or {}).items()):
                (line,) = ax.plot(x, y, color="black", lw=0.8, ls=("-", ":")[i % 2], label=label)
                if ax is axes[0]:
                    handles.append(line)
        add_legend(figure, [*handles, *legend_of_crosses(figure)])
    return figure


def clipping_outcomes(
    rates: ArrayLike,
    losses: Mapping[str, Mapping[str, ArrayLike]],
    clipped: Mapping[str, Mapping[str, ArrayLike]],
    diverged: Mapping[str, Mapping[str, ArrayLike]],
    *,
    baselines: Mapping[str, float],
) -> Figure:
    """Plots, in a column per problem, loss against learning rate for each clipping, fraction of clipped steps, and
    number of diverged nets.

    `rates [R]`; for each problem and clipping `losses [R, N]` and `clipped [R, N]` of N seeds, `diverged [R]` out
    of N; `baselines`, for each problem, is the loss of the trivial answer.
    """
    demand_names(losses, "losses")
    x = checked("learning rates", np.asarray(rates, np.float64), "[R]")
    ways = list(next(iter(losses.values())))
    looks = looks_of(ways)
    with style.context(SETTINGS, after_reset=True):
        height = 3.6 + 0.16 * len(ways)
        figure = Figure(figsize=(PAGE, height), layout="constrained")
        rows = figure.subplots(3, len(losses), squeeze=False, height_ratios=(2, 1.1, 0.16 * len(ways) + 0.2))
        for column, (problem, of_ways) in enumerate(losses.items()):
            loss_ax, share_ax, count_ax = rows[:, column]
            values = {way: points(way, {"x": x, "values": of_ways[way]})[1] for way in ways}
            finite = np.concatenate([v.ravel() for v in values.values()])
            top = 30 * baselines[problem]
            least = np.min(finite[np.isfinite(finite) & (finite > 0)], initial=baselines[problem])
            loss_ax.set(xscale="log", yscale="log", ylim=(0.5 * least, top), title=problem)
            share_ax.set(xscale="log", ylim=(-0.04, 1.04))  # first of all, since bands are cut at the limits
            for way in ways:
                draw_outcomes(loss_ax, x, values[way], looks[way])
                _, shares = points(way, {"x": x, "values": clipped[problem][way]})
                if way != "none":
                    draw_outcomes(share_ax, x, shares, looks[way], beyond=False)
            loss_ax.axhline(baselines[problem], color=GREY, lw=0.8, ls="--")
            mark_points(loss_ax, [x], log=True)
            mark_points(share_ax, [x], log=True)
            seeds = next(iter(values.values())).shape[1]
            draw_counts(
                count_ax,
                x,
                {way: demand_shape("diverged", diverged[problem][way], x.shape) for way in ways},
                seeds,
            )
            count_ax.set_xlabel("learning rate")
            count_ax.set_title(f"nets that diverged, of {seeds}", fontsize=7.5)
            for ax in (loss_ax, share_ax):
                ax.tick_params(labelbottom=False)
        rows[0, 0].set_ylabel("loss, held out")
        rows[1, 0].set_ylabel("share of steps\nclipped")
        for ax in rows[2, 1:]:
            ax.tick_params(labelleft=False)
        handles = legend_of(looks)
        handles.append(Line2D([], [], color=GREY, lw=0.8, ls="--", label="trivial answer"))
        handles.append(Patch(color=GREY, alpha=0.3, lw=0, label="least to most of the seeds"))
        add_legend(figure, [*handles, *legend_of_crosses(figure)])
    return figure


def loss_by_way(
    panels: Mapping[str, Mapping[str, Mapping[str, ArrayLike]]],
    *,
    y_label: str,
    baseline: float,
    top: float | None = None,
) -> Figure:
    """Plots the loss during training: one panel per title, one line per name, all on one logarithmic axis.

    A curve is `{"step": [n], "value": [n]}`; it ends with a cross where it stops being finite. Values above `top`
    times the baseline (30 by default) are not drawn.
    """
    demand_names(panels, "curves")
    looks = looks_of(name for curves in panels.values() for name in curves)
    values = np.concatenate([np.ravel(c["value"]) for curves in panels.values() for c in curves.values()])
    least = np.min(values[np.isfinite(values) & (values > 0)], initial=baseline)
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(panels, 1.9, "training step", y_label)
        axes[0].set(yscale="log", ylim=(0.6 * least, (top or 30) * baseline))
        ended_anywhere = False
        for ax, curves in zip(axes, panels.values(), strict=True):
            ax.axhline(baseline, color=GREY, lw=0.8, ls="--")
            ended = 0
            for name, curve in curves.items():
                steps, value = (np.asarray(curve[key], np.float64) for key in ("step", "value"))
                look = {key: looks[name][key] for key in ("color", "linestyle")}
                draw_line(ax, steps, np.where(value > 0, value, np.nan), label=name, **look)
                if not np.isfinite(value).all():
                    end = int(np.argmin(np.isfinite(value)))
                    # One below the other, where they end together.
                    height = (top or 30) * baseline * 0.6 * 0.6**ended
                    ended, ended_anywhere = ended + 1, True
                    ax.plot(steps[end], height, "x", ms=5, mew=1.4, color=look["color"], zorder=5)
            ax.xaxis.set_major_locator(MaxNLocator(3, steps=STEPS, integer=True))
        handles: list[Artist] = [
            Line2D([], [], label=name, color=look["color"], linestyle=look["linestyle"])
            for name, look in looks.items()
        ]
        handles.append(Line2D([], [], color=GREY, lw=0.8, ls="--", label="trivial answer"))
        if ended_anywhere:
            handles.append(
                Line2D([], [], color=GREY, marker="x", ls="none", ms=5, mew=1.4, label="no longer finite")
            )
        add_legend(figure, handles)
    return figure


def outcomes_by_setting(rows: Mapping[str, ArrayLike], *, x_label: str, log: bool = False) -> Figure:
    """Plots outcomes of several seeds, a row per name: a dot per seed, the median, and a bar from min to max.

    Each value is `[N]`, NaN for none. `log` makes the axis logarithmic.
    """
    demand_names(rows, "outcomes")
    read = {
        name: checked(f"outcomes of {name!r}", np.asarray(v, np.float64), "[N]") for name, v in rows.items()
    }
    with style.context(SETTINGS, after_reset=True):
        # Room beside the names, which are wider at the resolution of a file than where they are laid out.
        layout = ConstrainedLayoutEngine(w_pad=0.12)
        figure = Figure(figsize=(0.75 * PAGE, 0.6 + 0.26 * len(read)), layout=layout)
        ax = figure.subplots()
        ax.set(xscale="log" if log else "linear", xlabel=x_label, ylim=(len(read) - 0.4, -0.6))
        for row, values in enumerate(read.values()):
            there = values[np.isfinite(values)]
            if len(there):
                ax.hlines(row, there.min(), there.max(), color=COLOURS[0], lw=4, alpha=0.2)
                ax.plot(
                    there, np.full(len(there), row), "o", color=COLOURS[0], ms=MARKER_SIZE, alpha=0.7, mew=0
                )
                ax.plot(np.median(there), row, "|", color="black", ms=9, mew=1.4)
        ax.set_yticks(range(len(read)), [wrapped(name, 24) for name in read])
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", visible=False)
        one = max(len(v) for v in read.values()) == 1
        dots: list[Artist] = [
            Line2D(
                [],
                [],
                marker="o",
                ls="none",
                color=COLOURS[0],
                alpha=0.7,
                mew=0,
                ms=MARKER_SIZE,
                label="a seed",
            ),
            Line2D([], [], marker="|", ls="none", color="black", ms=9, mew=1.4, label="median"),
            Patch(color=COLOURS[0], alpha=0.2, lw=0, label="least to most of the seeds"),
        ]
        add_legend(figure, dots[:1] if one else dots)
    return figure


# --- parts


def points(name: str, given: Points) -> tuple[Numbers, Numbers]:
    """Returns x `[n]` and values `[n, N]` of one name. Raises ValueError if they don't fit."""
    if set(given) != {"x", "values"}:
        raise ValueError(f"outcomes of {name!r} have {sorted(given)}; expected 'values' and 'x'")
    x = checked(f"x of {name!r}", np.asarray(given["x"], np.float64), "[n]")
    values = checked(f"outcomes of {name!r}", np.asarray(given["values"], np.float64), "[n, N]")
    if len(values) != len(x):
        raise ValueError(
            f"outcomes of {name!r} are at {len(values)} points, and x has {len(x)}; give equal numbers"
        )
    return x, values


def draw_outcomes(
    ax: Axes, x: Numbers, values: Numbers, look: Mapping[str, Any], *, beyond: bool = True
) -> None:
    """Draws the medians over the seeds, with marks, and a band from min to max; a missing outcome counts as
    infinite. With `beyond` a cross at the upper edge marks a median above it."""
    low, middle, high = quantiles(np.where(np.isnan(values), np.inf, values), [0.0, 0.5, 1.0], axis=1)
    bottom, top = ax.get_ylim()
    shown = low < top
    ax.fill_between(
        x,
        np.clip(low, bottom, top),
        np.clip(high, bottom, top),
        where=shown.tolist(),
        color=look["color"],
        alpha=0.15,
        lw=0,
    )
    visible = np.where(np.isfinite(middle) & (middle <= top), middle, np.nan)
    ax.plot(x, visible, markersize=MARKER_SIZE, **look)
    above = np.isnan(visible)
    if beyond and above.any():
        ax.plot(x[above], np.full(above.sum(), top), "x", color=look["color"], ms=4.5, clip_on=False)
    if len(x) == 1:  # a band of one point has no width
        ax.vlines(
            x, np.clip(low, bottom, top), np.clip(high, bottom, top), color=look["color"], lw=2.5, alpha=0.3
        )


def draw_counts(ax: Axes, x: Numbers, counts: Mapping[str, Numbers], of: int) -> None:
    """Draws a table with a row per name and a column per rate, darker for larger counts."""
    table = np.array(list(counts.values()))
    ax.imshow(table, cmap="Oranges", vmin=0, vmax=1.3 * of, aspect="auto")
    for row, column in np.ndindex(*table.shape):
        ax.text(column, row, f"{table[row, column]:.0f}", ha="center", va="center", fontsize=6.5)
    ax.set_xticks(np.arange(len(x)), [f"{value:g}" for value in x])
    ax.set_yticks(np.arange(len(table)), list(counts), fontsize=6.5)
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def mark_points(ax: Axes, xs: Sequence[Numbers], log: bool) -> None:
    """Puts ticks at the points themselves, with a margin of half a step, thinned out if they would overlap."""
    every = np.unique(np.concatenate(xs))
    places = np.log(every) if log else every
    # 4,477 and 4,480 count as one place.
    apart = np.append(True, np.diff(places) > 0.02 * (places[-1] - places[0]))
    ticks = every[apart][:: -(-int(apart.sum()) // 8)]
    ax.set_xticks(ticks, [f"{tick:,g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    if len(every) > 1:
        scaled = np.log(every) if log else every
        room = 0.5 * (scaled[-1] - scaled[0]) / (len(every) - 1)
        ends = np.array([scaled[0] - room, scaled[-1] + room])
        ax.set_xlim(*(np.exp(ends) if log else ends))


def limits_of(values: Numbers, log: bool) -> tuple[float, float]:
    """Returns limits that include all finite values, with a margin."""
    finite = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not finite.size:
        return (0.1, 1.0)
    if log:
        low, high = 10 ** decades(np.log10(finite))
        return float(low), float(high)
    margin = 0.06 * (finite.max() - finite.min()) or 1.0
    return float(finite.min() - margin), float(finite.max() + margin)


def looks_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns colour, dashes and marker of each name, by its position."""
    return {
        name: look | {"marker": MARKERS[i % 8]} for i, (name, look) in enumerate(styles_of(names).items())
    }


def legend_of_crosses(figure: Figure) -> list[Artist]:
    """Returns the legend's entry for crosses at an upper edge, if there are any."""
    if not any(line.get_marker() == "x" for ax in figure.axes for line in ax.lines):
        return []
    return [Line2D([], [], color=GREY, marker="x", ms=4.5, ls="none", label="median above, or not finite")]


def legend_of(looks: Mapping[str, dict[str, Any]]) -> list[Artist]:
    """Returns a legend entry for every name."""
    return [Line2D([], [], label=name, markersize=MARKER_SIZE, **look) for name, look in looks.items()]
