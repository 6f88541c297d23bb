"""Figures of gradients and singular values against the lag, and of eigenvalues, in the style of `style.py`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    Figure,
    add_legend,
    arrangement,
    checked,
    count_along,
    decades,
    demand_names,
    draw_band,
    draw_line,
    entries,
    panel_grid,
    quartiles,
    rest_entry,
    rest_line,
    spectrum_rows,
    styles_of,
)

DEEPEST = 30  # decades below the lowest of the largest singular values that are shown


def gradient_against_lag(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike] | None = None,
    rest: Mapping[str, float] | None = None,
    *,
    of_inputs: bool = False,
) -> Figure:
    """Plots the gradient norm ‖∂L/∂s_{T−k}‖ (s: the whole state) against the lag k, before and after training; with
    `of_inputs` ‖∂L/∂x_{T−k+1}‖, by the inputs. Without `after`, one panel of one state of training, whichever.

    Each value is `[K]` or `[K, N]` at lags k = 1 … K, from `gradient_by_lag`. With N examples the line is their
    median and the band spans the quartiles. `rest` are the exponents of untrained cells at rest
    (`rest_exponent`), drawn as lines of that slope through the first point of their cell.
    """
    given = {"before training": before} | ({} if after is None else {"after training": after})
    for title, norms in given.items():
        demand_names(norms, f"gradient norms {title}")
    panels = {
        title: {
            name: quartiles(f"gradient norms of {name!r} {title}", value) for name, value in norms.items()
        }
        for title, norms in given.items()
    }
    rows = [quartiles for panel in panels.values() for quartiles in panel.values()]
    # Within the exponents of a float64.
    limits = np.clip(decades(np.log10(np.concatenate([row[row > 0] for row in rows]))), -323, 308)
    powers = MaxNLocator(6, steps=STEPS, integer=True, min_n_ticks=1).tick_values(*limits)
    styles = styles_of([*before, *(after or {})])
    handles = entries(styles)
    if any(np.ndim(value) == 2 for norms in given.values() for value in norms.values()):
        handles.append(Patch(color=GREY, alpha=0.3, lw=0, label="quartiles over examples"))
    handles += [rest_entry()] if rest else []
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE if after else 0.6 * PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        by = "x_{T-k+1}" if of_inputs else "s_{T-k}"
        axes[0].set(yscale="log", ylabel=rf"gradient norm $\|\partial L\,/\,\partial {by}\|$")
        axes[0].set_yticks([10.0**power for power in powers if limits[0] <= power <= limits[1]])
        axes[0].set_ylim(*10.0**limits)
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            for name, (low, middle, high) in panel.items():
                lags = np.arange(1, middle.size + 1)
                draw_band(ax, lags, low, high, styles[name]["color"])
                draw_line(ax, lags, np.where(middle > 0, middle, np.nan), label=name, **styles[name])
                if rest and name in rest and panel is panels["before training"]:
                    rest_line(ax, lags, middle[0] * np.exp(rest[name] * (lags - 1)))
            ax.set(title=title if after else "", xlabel="lag $k$ (steps back from the loss)")
        count_along(axes[0], 1, max(row.shape[1] for row in rows), ticks=7)
        add_legend(figure, handles)
    return figure


def singular_values_against_lag(
    spectra: Mapping[str, ArrayLike], rest: Mapping[str, float] | None = None
) -> Figure:
    """Plots the singular values of the products J_T … J_{T−k+1} against the lag k, one panel per cell.

    Each value is `[K, S]` or `[N, K, S]`: natural logarithms at lags k = 1 … K (−inf for a zero). Shown are the
    largest, the median, and bands between the quartiles and from smallest to largest; with examples, the median
    over them of each of the five. The axis shows log10 σ with tick labels 10ⁿ, since σ itself (0.5 to the
    5,000th) may underflow. It extends at most `DEEPEST` decades below the lowest of the largest values; a band
    that extends below, possibly to an exact zero, ends at the axis. `rest` are exponents of cells at rest
    (`rest_exponent`), drawn as lines of the theory.
    """
    demand_names(spectra, "singular values")
    panels = {name: spectrum_rows(name, logs) / math.log(10) for name, logs in spectra.items()}
    low, high = decades(np.concatenate([rows.ravel() for rows in panels.values()]))
    largest = np.concatenate([rows[4] for rows in panels.values()])
    limits = (max(low, np.min(largest[np.isfinite(largest)], initial=high) - DEEPEST), high)
    styles = styles_of(spectra)
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(
            spectra, 2.0, "lag $k$ (steps)", r"singular value of $J_T \cdots J_{T-k+1}$"
        )
        axes[0].set_ylim(*limits)
        axes[0].yaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
        axes[0].yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
        for ax, (name, (low, lower, middle, upper, high)) in zip(axes, panels.items(), strict=True):
            colour, lags = styles[name]["color"], np.arange(1, middle.size + 1)
            draw_band(ax, lags, low, high, colour, alpha=0.15)
            draw_band(ax, lags, lower, upper, colour, alpha=0.3)
            draw_line(ax, lags, high, label="largest", color=colour)
            draw_line(ax, lags, middle, label="median", color=colour, linestyle="--")
            if rest and name in rest:
                rest_line(ax, lags, lags * rest[name] / math.log(10))
        count_along(axes[0], 1, max(rows.shape[1] for rows in panels.values()), ticks=4)
        lines = [
            Line2D([], [], color=GREY, label="largest"),
            Line2D([], [], color=GREY, ls="--", label="median"),
        ]
        shades = {"quartiles": 0.45, "smallest to largest (to the axis: smaller, or zero)": 0.15}
        bands = [Patch(color=GREY, alpha=alpha, lw=0, label=label) for label, alpha in shades.items()]
        add_legend(figure, [*lines, *bands, *([rest_entry()] if rest else [])])
    return figure


def eigenvalues_in_plane(eigenvalues: Mapping[str, ArrayLike]) -> Figure:
    """Plots eigenvalues of step Jacobians in the complex plane with the unit circle, one panel per cell, each
    with its own axes, as their scales can differ.

    Each value is complex `[T, S]`, coloured by the time step 1 … T, or `[S]`, in the cell's colour. Points that
    aren't finite are left out.
    """
    demand_names(eigenvalues, "eigenvalues")
    panels = {
        name: checked(f"eigenvalues of {name!r}", np.asarray(value, np.complex128), "[S]", "[T, S]")
        for name, value in eigenvalues.items()
    }
    steps = max((len(values) for values in panels.values() if values.ndim == 2), default=0)
    styles = styles_of(eigenvalues)
    with style.context(SETTINGS, after_reset=True):
        _, columns, width = arrangement(len(panels))
        figure, axes = panel_grid(
            panels,
            (width - bool(steps)) / columns + 0.5,
            "real part, Re λ",
            "imaginary part, Im λ",
            shared=False,
        )
        time = ScalarMappable(Normalize(1, max(steps, 2)), cmap="viridis")
        for ax, (name, values) in zip(axes, panels.items(), strict=True):
            finite = np.isfinite(values)
            colours: Any = styles[name]["color"]
            if values.ndim == 2:
                colours = time.to_rgba(1 + np.nonzero(finite)[0])
            points = values[finite]
            ax.scatter(points.real, points.imag, s=6, c=colours, alpha=0.7, linewidths=0, rasterized=True)
            parts = np.abs(np.concatenate([points.real, points.imag]))
            reach = 1.15 * np.max(parts, initial=1.0)
            ax.add_patch(Circle((0, 0), 1, fill=False, color=GREY, lw=0.8))
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            ax.locator_params(nbins=5, steps=STEPS)
        if steps:
            bar = figure.colorbar(time, ax=axes, label="time (step)", aspect=25, pad=0.02)
            bar.locator = MaxNLocator(5, steps=STEPS, integer=True)
        add_legend(figure, [Line2D([], [], color=GREY, lw=0.8, label="unit circle, |λ| = 1")])
    return figure
