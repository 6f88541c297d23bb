"""Figures of a net's health during training, in the style of `style.py`."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import LogFormatter, MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLOURS,
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    Figure,
    Numbers,
    checked,
    count_along,
    demand_shape,
    draw_line,
    entries,
    styles_of,
)


def draw_heat_map(
    figure: Figure, ax: Axes, steps: ArrayLike, lags: ArrayLike, logs: ArrayLike
) -> ScalarMappable:
    """Draws a heat map with a column per report, a row per lag, and powers of ten as colours."""
    along = checked("steps", np.asarray(steps, np.float64), "[n]")
    rows = checked("lags", np.asarray(lags, np.float64), "[K]")
    values = demand_shape("logarithms", logs, (len(along), len(rows))) / math.log(10)
    shown = np.where(np.isfinite(values), values, np.nan)
    finite = shown[np.isfinite(shown)]
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 0.0)
    mesh = ax.pcolormesh(
        edges(along), np.arange(len(rows) + 1) - 0.5, shown.T, cmap="viridis", vmin=low, vmax=max(high, low + 1e-3),
        rasterized=True,
    )  # fmt: skip
    ax.grid(False)
    every = max(1, math.ceil(len(rows) / 7))
    places = np.arange(0, len(rows), every)
    ax.set_yticks(places, [f"{rows[place]:.0f}" for place in places])
    ax.set(xlabel="training step", ylabel="lag $k$ (steps)")
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS, integer=True))
    ax.xaxis.set_major_formatter("{x:,.0f}")
    bar = figure.colorbar(mesh, ax=ax, pad=0.02, aspect=20, format=lambda power, _: f"$10^{{{power:g}}}$")
    bar.locator = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])
    return mesh


def edges(steps: Numbers) -> Numbers:
    """Returns the borders of columns centred on the steps."""
    if len(steps) == 1:
        return steps[0] + np.array([-0.5, 0.5])
    between = (steps[1:] + steps[:-1]) / 2
    return np.concatenate([[2 * steps[0] - between[0]], between, [2 * steps[-1] - between[-1]]])


def health_figure(
    *,
    step: ArrayLike,
    exponent: ArrayLike,
    half_life: ArrayLike,
    clipped_share: ArrayLike,
    saturated: Mapping[str, ArrayLike],
    gradient_lags: ArrayLike,
    log_gradient: ArrayLike,
    singular_lags: ArrayLike,
    log_singular: Mapping[int, ArrayLike],
) -> Figure:
    """Plots λ₁, half-life, saturation, share of clipped steps, singular values and gradient by lag over training.

    `step [n]` and columns `[n]`; `saturated` a column for each gate; `log_gradient [n, K]` at `gradient_lags [K]`
    and `log_singular[i] [n, L]` at `singular_lags [L]`, the i-th largest singular value, natural logarithms. Values
    that aren't finite are gaps.
    """
    steps = checked("steps", np.asarray(step, np.float64), "[n]")
    lags = checked("lags", np.asarray(singular_lags, np.int64), "[L]")
    shape = (len(steps),)
    columns = {
        "exponents": demand_shape("exponents", exponent, shape),
        "half-lives": demand_shape("half-lives", half_life, shape),
        "shares": demand_shape("shares of clipped steps", clipped_share, shape),
    }
    gates = {name: demand_shape(f"saturation of {name!r}", share, shape) for name, share in saturated.items()}
    singular = {
        place: demand_shape("singular values", logs, (len(steps), len(lags))) / math.log(10)
        for place, logs in log_singular.items()
    }
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 6.0), layout="constrained")
        axes = figure.subplots(3, 2)
        single = {"color": COLOURS[0]}

        ax: Axes = axes[0, 0]
        draw_line(ax, steps, columns["exponents"], label="λ₁", **single)
        ax.axhline(0, color=GREY, lw=0.9, ls="--")
        ax.set(title="leading Lyapunov exponent", ylabel="λ₁ (nats per step)")

        ax = axes[0, 1]
        lives = np.where(columns["half-lives"] > 0, columns["half-lives"], np.nan)
        draw_line(ax, steps, lives, label="half-life", **single)
        ax.set(title="lag that halves the gradient", ylabel="half-life (steps)")
        if np.isfinite(lives).any():
            ax.set_yscale("log")
            for axis_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
                axis_formatter(LogFormatter(minor_thresholds=(1, 0.5)))

        ax = axes[1, 0]
        for name, style_ in styles_of(gates).items():
            draw_line(ax, steps, gates[name], label=name, **style_)
        ax.set(title="saturated gates or units", ylabel="share", ylim=(-0.03, 1.03))
        if gates:
            ax.legend(handles=entries(styles_of(gates)), loc="best", ncols=2 if len(gates) > 3 else 1)
        else:
            ax.text(0.5, 0.5, "the cell shows none", ha="center", va="center", transform=ax.transAxes)

        ax = axes[1, 1]
        draw_line(ax, steps, columns["shares"], label="clipped", **single)
        ax.set(title="clipped steps since the report before", ylabel="share", ylim=(-0.03, 1.03))

        ax = axes[2, 0]
        first, last = min(singular, default=1), max(singular, default=1)
        lines = styles_of([f"$k$ = {lag}" for lag in lags])
        for column, (name, appearance) in enumerate(lines.items()):
            if singular:
                top, bottom = singular[first][:, column], singular[last][:, column]
                draw_line(ax, steps, top, label=name, **appearance)
                both = np.isfinite(top) & np.isfinite(bottom)
                ax.fill_between(
                    steps, bottom, top, where=both.tolist(), color=appearance["color"], alpha=0.2, lw=0
                )
        ax.set(title=f"leading {last} singular values of $J_T \\cdots J_{{T-k+1}}$")
        ax.set(ylabel="singular value", xlabel="training step")
        low, high = ax.get_ylim()
        if high - low < 0.01:  # all alike to rounding, as those of a fixed window are
            ax.set_ylim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
        ax.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:g}}}$")
        ax.legend(handles=entries(lines), loc="best", ncols=2)

        ax = axes[2, 1]
        draw_heat_map(figure, ax, steps, gradient_lags, log_gradient)
        ax.set(title=r"gradient norm $\|\partial L\,/\,\partial s_{T-k}\|$")
        for ax in axes.flat[:5]:
            count_along(ax, steps.min(), steps.max(), ticks=5)
            ax.xaxis.set_major_formatter("{x:,.0f}")
    return figure
