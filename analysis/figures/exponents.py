"""Figures of Lyapunov spectra: before and after training, with and without gradient flossing, in the style of
`style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    Figure,
    Numbers,
    add_legend,
    checked,
    count_along,
    demand_names,
    draw_band,
    draw_line,
    entries,
    panel_grid,
    quantiles,
    styles_of,
)


def exponents_before_and_after(
    before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike] | None = None
) -> Figure:
    """Plots the exponents λ_i, largest first, against i/S, before and after training, one line per cell. Without
    `after`, one panel of one state of training, whichever.

    Each value is `[S]`, or `[N, S]` for N sequences: then the line is their median and the band spans the
    quartiles. Nats per step; the line ends at exponents of −∞.
    """
    given = {"before training": before} | ({} if after is None else {"after training": after})
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
    styles = styles_of([*before, *(after or {})])
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE if after else 0.6 * PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
        axes[0].set(xlim=(-0.02, 1.02), ylim=(low - margin, high + margin))
        axes[0].set(ylabel=r"Lyapunov exponent $\lambda_i$ (nats per step)")
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            ax.axhline(0, color=GREY, lw=0.9, ls="--")
            for name, (lower, middle, upper) in panel.items():
                places = np.arange(1, middle.size + 1) / middle.size
                draw_band(ax, places, lower, upper, styles[name]["color"])
                draw_line(ax, places, middle, label=name, **styles[name])
            ax.set(title=title if after else "", xlabel="share of the directions, $i / S$")
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


def spectra_of_variants(
    panels: Mapping[str, Mapping[str, ArrayLike]], *, flossed: Mapping[str, int]
) -> Figure:
    """Plots Lyapunov exponents λ_i against i, one panel per task and moment, one colour per variant: `[N, S]` for N
    sequences, whose mean is drawn. If only the first few exponents of a panel are `flossed`, a line marks the
    last."""
    demand_names(panels, "spectra of variants")
    styles = styles_of(name for variants in panels.values() for name in variants)
    shown = {
        title: {
            name: checked(f"exponents of {name!r}", np.asarray(value, np.float64), "[N, S]").mean(axis=0)
            for name, value in variants.items()
        }
        for title, variants in panels.items()
    }
    every = [value for variants in shown.values() for value in variants.values()]
    count = max(len(value) for value in every)
    # The last exponents can be far below the others and would take all the space.
    leading = np.concatenate([value[: max(1, len(value) // 2)] for value in every])
    leading = leading[np.isfinite(leading)]
    low, high = min(leading.min(initial=0.0), -0.1), max(leading.max(initial=0.0), 0.02)
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(panels, 2.0, "index $i$", r"Lyapunov exponent $\lambda_i$ (nats per step)")
        axes[0].set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
        axes[0].yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
        lines = entries(styles)
        for ax, (title, variants) in zip(axes, shown.items(), strict=True):
            ax.axhline(0, color=GREY, lw=0.8)
            for name, value in variants.items():
                draw_line(ax, np.arange(1, len(value) + 1), value, label=name, **styles[name])
            if flossed[title] < count:
                ax.axvline(flossed[title] + 0.5, color=GREY, lw=0.8, ls=":")
        count_along(axes[0], 1, count, ticks=4)
        if min(flossed.values()) < count:
            lines.append(Line2D([], [], color=GREY, lw=0.8, ls=":", label="flossed: those before"))
        add_legend(figure, lines)
    return figure
