"""Series: errors of forecasts against the horizon, values beside bands of quantiles, and music as piano rolls."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLOURS,
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
    panel_grid,
    styles_of,
    wrapped,
)

LOWEST, OCTAVE = 21, 12  # the MIDI number of a piano's lowest pitch; pitches of an octave
BANDS = ((0, 4, 0.18), (1, 3, 0.30))  # of the five quantiles: ends and opacity
BAND_NAMES = ("5 to 95 %", "25 to 75 %")


def error_against_horizon(panels: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Plots root mean square errors of free-running forecasts against their horizon, one panel for each series.

    A panel is `{"errors": {method: [S]}, "rate": λ}`: step i is at i λ Lyapunov times, or at i where λ is NaN, and
    a thin line is the growth e^{λ t} from the first method's error of one step, up to the error of two values of
    the series that have nothing to do with one another, √2.
    """
    demand_names(panels, "forecasts")
    methods = list(dict.fromkeys(method for panel in panels.values() for method in panel["errors"]))
    styles = styles_of(methods)
    growth = Line2D([], [], color=GREY, lw=0.8, ls=":", label="growth by the Lyapunov exponent")
    grows = False
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(panels, 2.3, "", "error (standard deviations)", shared=False)
        for ax, panel in zip(axes, panels.values(), strict=True):
            rate = float(panel["rate"])
            unit = rate if np.isfinite(rate) else 1.0
            curves = {method: np.asarray(values, np.float64) for method, values in panel["errors"].items()}
            for method, errors in curves.items():
                shown = np.where(errors > 0, errors, np.nan)
                draw_line(ax, np.arange(1, errors.size + 1) * unit, shown, label=method, **styles[method])
            if rate > 0:
                errors, grows = next(iter(curves.values())), True
                steps = np.arange(errors.size)
                line = errors[0] * np.exp(rate * steps)
                line = np.where(line <= np.sqrt(2), line, np.nan)
                ax.plot((steps + 1) * unit, line, color=GREY, lw=0.8, ls=":")
            ax.axhline(1, color=GREY, lw=0.6, ls="--")
            ax.set(xlabel="Lyapunov times" if np.isfinite(rate) else "steps ahead", yscale="log")
            ax.set_ylim(top=3)
        add_legend(figure, [*entries(styles), *([growth] if grows else [])])
    return figure


def forecast_bands(panels: Mapping[str, Mapping[str, ArrayLike]], *, y_label: str = "value") -> Figure:
    """Plots a series beside bands of forecast quantiles, one panel for each, below one another.

    A panel is `{"truth": [n], "quantiles": [5, n]}` (5, 25, 50, 75 and 95 %, of which the middle one is the line)
    and any further forecasts by name, `[n]`.
    """
    demand_names(panels, "forecasts")
    others = list(
        dict.fromkeys(k for panel in panels.values() for k in panel if k not in ("truth", "quantiles"))
    )
    styles = styles_of(["truth", "median", *others])
    styles["truth"] = {"color": "black", "linestyle": "-", "lw": 1.0}
    styles["median"] = {"color": COLOURS[0], "linestyle": "-"}
    handles = [*entries(styles)]
    handles += [
        Patch(color=COLOURS[0], alpha=alpha, lw=0, label=name)
        for name, (_, _, alpha) in zip(BAND_NAMES, BANDS, strict=True)
    ]
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 0.4 + 1.15 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for ax, (name, panel) in zip(axes, panels.items(), strict=True):
            truth = np.asarray(panel["truth"], np.float64)
            quantiles = demand_shape(f"quantiles of {name!r}", panel["quantiles"], (5, truth.size))
            steps = np.arange(1, truth.size + 1)
            for low, high, alpha in BANDS:
                ax.fill_between(steps, quantiles[low], quantiles[high], color=COLOURS[0], alpha=alpha, lw=0)
            draw_line(ax, steps, quantiles[2], label="median", **styles["median"])
            low, high = np.nanmin(truth), np.nanmax(truth)  # a band that is wider is cut
            for other in others:
                if other in panel:
                    values = demand_shape(f"{other} of {name!r}", panel[other], truth.shape)
                    draw_line(ax, steps, values, label=other, lw=0.9, **styles[other])
            draw_line(ax, steps, truth, label="truth", **styles["truth"])
            margin = 0.35 * (high - low) or 1.0
            ax.set_ylim(low - margin, high + margin)
            ax.set_title(name, loc="left", pad=2)
            ax.margins(x=0.01)
        axes[-1].set_xlabel("step")
        figure.supylabel(f"{y_label} (standard deviations)", fontsize=SETTINGS["font.size"])
        add_legend(figure, handles)
    return figure


def piano_rolls(panels: Mapping[str, ArrayLike], columns: int) -> Figure:
    """Draws piano rolls `[T, 88]`, time to the right, pitch upwards, so many in a row; all show the pitches that
    occur in any, and lines at each C."""
    demand_names(panels, "piano rolls")
    rolls = {
        name: checked(f"notes of {name!r}", np.asarray(roll, bool), "[T, 88]")
        for name, roll in panels.items()
    }
    sounding = np.flatnonzero(np.any([roll.any(axis=0) for roll in rolls.values()], axis=0))
    low, high = (sounding.min(), sounding.max()) if sounding.size else (0, 87)
    rows = -(-len(rolls) // columns)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 0.3 + 1.35 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        octaves = [pitch for pitch in range(low, high + 1) if (pitch + LOWEST) % OCTAVE == 0]
        names = [f"C{(pitch + LOWEST) // OCTAVE - 1}" for pitch in octaves]
        for ax in axes.flat[len(rolls) :]:
            ax.set_axis_off()
        for ax, (name, roll) in zip(axes.flat, rolls.items(), strict=False):
            steps, pitches = np.nonzero(roll)
            ax.barh(pitches, np.ones(len(steps)), left=steps, height=0.9, color=COLOURS[0], lw=0)
            ax.set_title(wrapped(name, round(90 / columns)), pad=2)
            ax.set_xlim(0, len(roll))
            ax.set_ylim(low - 1, high + 1)
            ax.set_yticks(octaves, names)
        for ax in axes[-1]:
            ax.set_xlabel("step")
    return figure
