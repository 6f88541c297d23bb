"""Figures of nets trained with and without gradient flossing, in the style of `style.py`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    add_legend,
    checked,
    count_along,
    demand_names,
    draw_line,
    entries,
    logged_column,
    panel_grid,
    styles_of,
)

Curve = Mapping[str, ArrayLike]


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
