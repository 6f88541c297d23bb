"""Figures of Lyapunov spectra before and after training, in the style of `style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from analysis.figures.style import (
    GREY,
    PAGE,
    SETTINGS,
    Numbers,
    add_legend,
    checked,
    demand_names,
    draw_band,
    draw_line,
    entries,
    quantiles,
    styles_of,
)


def exponents_before_and_after(before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike]) -> Figure:
    """Plots the exponents λ_i, largest first, against i/S, before and after training, one line per cell.

    Each value is `[S]`, or `[N, S]` for N sequences: then the line is their median and the band spans the
    quartiles. Nats per step; the line ends at exponents of −∞.
    """
    given = {"before training": before, "after training": after}
    panels: dict[str, dict[str, Numbers]] = {}
    for title, spectra in given.items():
        demand_names(spectra, f"exponents {title}")
        panels[title] = {
            name: quartiles_of(f"exponents of {name!r} {title}", value) for name, value in spectra.items()
        }
    every = np.concatenate([rows.ravel() for panel in panels.values() for rows in panel.values()])
    finite = every[np.isfinite(every)]
    low, high = (min(finite.min(), 0.0), max(finite.max(), 0.0)) if finite.size else (-1.0, 0.0)
    margin = 0.05 * max(high - low, 0.1)
    styles = styles_of([*before, *after])
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set(xlim=(-0.02, 1.02), ylim=(low - margin, high + margin))
        axes[0].set(ylabel=r"Lyapunov exponent $\lambda_i$ (nats per step)")
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            ax.axhline(0, color=GREY, lw=0.9, ls="--")
            for name, (lower, middle, upper) in panel.items():
                places = np.arange(1, middle.size + 1) / middle.size
                draw_band(ax, places, lower, upper, styles[name]["color"])
                draw_line(ax, places, middle, label=name, **styles[name])
            ax.set(title=title, xlabel="share of the directions, $i / S$")
        add_legend(
            figure,
            [
                *entries(styles),
                Line2D([], [], color=GREY, lw=0.9, ls="--", label="changes neither grow nor shrink"),
            ],
        )
    return figure


def quartiles_of(what: str, exponents: ArrayLike) -> Numbers:
    """Computes lower quartile, median, upper quartile `[3, S]` of `[S]` or `[N, S]`."""
    values = checked(what, np.asarray(exponents, np.float64), "[S]", "[N, S]")
    return quantiles(values.reshape(-1, values.shape[-1]), [0.25, 0.5, 0.75], axis=0)
