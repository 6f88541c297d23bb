"""Figures of what theory says: phase diagram, gradients beside their prediction, fixed points.

Same rules as in `analysis/figures.py`: nothing is computed here, colours are told apart by the colour-blind
and lines by their dashes or marks too, and what an axis can't show is left out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.drawing import (
    COLOURS,
    COLUMN,
    SETTINGS,
    STEPS,
    add_legend,
    checked,
    count_along,
    decades,
    demand_names,
    demand_shape,
    draw_band,
    draw_line,
    entries,
    quartiles,
    styles_of,
)

MARKS = {"stable": "o", "saddle": "X", "unstable": "s"}
KIND_COLOURS = {"stable": COLOURS[0], "saddle": COLOURS[1], "unstable": COLOURS[6]}


def edge_of_chaos_plane(
    sigma_w: ArrayLike,
    sigma_b: ArrayLike,
    exponent: ArrayLike,
    edge: ArrayLike,
    *,
    label: str = r"drive, $\sigma$",
) -> Figure:
    """λ₁ = ½ ln χ over gain and drive with the edge of chaos, where it is zero.

    `sigma_w [n]`, `sigma_b [m]`, `exponent [n, m]`, natural logarithm per step (−∞ is drawn as the lowest
    value); `edge [m]` the critical gain at every σ_b. `label` names the second axis.
    """
    gains, drives = (checked("deviations", np.asarray(a, np.float64), "[n]") for a in (sigma_w, sigma_b))
    values = demand_shape("exponents", exponent, (len(gains), len(drives)))
    critical = demand_shape("gains at the edge", edge, (len(drives),))
    finite = values[np.isfinite(values)]
    low, high = min(finite.min(initial=-0.1), -0.1), max(finite.max(initial=0.1), 0.1)
    low = max(low, -3 * high)  # what vanishes at once would take all the colours
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.7), layout="constrained")
        ax = figure.subplots()
        mesh = ax.pcolormesh(
            gains,
            drives,
            np.clip(values, low, high).T,
            norm=TwoSlopeNorm(0.0, low, high),
            cmap="PuOr_r",
            shading="gouraud",
            rasterized=True,
        )
        ax.grid(False)
        ax.plot(critical, drives, color="black", lw=1.6)
        ax.set(xlim=(gains[0], gains[-1]), ylim=(drives[0], drives[-1]))
        ax.set(xlabel=r"recurrent gain, $\sigma_w$", ylabel=label)
        for text, x, y, side in (
            ("ordered:\ngradients vanish", 0.04, 0.96, "left"),
            ("chaotic:\ngradients explode", 0.96, 0.06, "right"),
        ):
            place: Any = "top" if side == "left" else "bottom"
            ax.text(x, y, f"{text}", transform=ax.transAxes, ha=side, va=place, bbox=PLATE)
        bar = figure.colorbar(mesh, ax=ax, label="λ₁ = ½ ln χ (nats per step)", aspect=25, pad=0.02)
        bar.ax.set_yscale("linear")
        bar.locator = MaxNLocator(9, steps=STEPS)
        add_legend(figure, [Line2D([], [], color="black", lw=1.6, label="edge of chaos, χ = 1")])
    return figure


PLATE = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}  # behind text on colours


def gradient_beside_theory(measured: Mapping[str, ArrayLike], theory: Mapping[str, ArrayLike]) -> Figure:
    """Gradient norm against the lag, measured as lines and predicted as thin black ones, one colour a name.

    `measured[name]` is `[K]` or `[K, N]` at lags 1 … K, whose median and quartiles are drawn; `theory[name]`
    the natural logarithm of the same norm, `[K]`. Names without a theory are drawn without.
    """
    demand_names(measured, "gradient norms")
    with np.errstate(divide="ignore"):  # a norm of zero becomes a gap
        rows = {n: np.log10(quartiles(f"gradient norms of {n!r}", norms)) for n, norms in measured.items()}
    lines = {
        name: checked(f"theory of {name!r}", np.asarray(logs, np.float64), "[K]") / math.log(10)
        for name, logs in theory.items()
    }
    styles = styles_of(measured)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.5), layout="constrained")
        ax = figure.subplots()
        ax.set_ylim(*decades(np.concatenate([*(row.ravel() for row in rows.values()), *lines.values()])))
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
        ax.yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
        for name, (low, middle, high) in rows.items():
            lags = np.arange(1, middle.size + 1)
            draw_band(ax, lags, low, high, styles[name]["color"])
            draw_line(ax, lags, middle, label=name, **styles[name])
        for name, line in lines.items():
            draw_line(ax, np.arange(1, line.size + 1), line, label=f"theory of {name}", color="black", lw=0.8)
        ax.set(xlabel="lag $k$ (steps back from the loss)")
        ax.set(ylabel=r"gradient norm $\|\partial L\,/\,\partial s_{T-k}\|$")
        count_along(ax, 1, max(row.shape[1] for row in rows.values()), ticks=6)
        shown = entries(styles)
        if lines:
            shown.append(Line2D([], [], color="black", lw=0.8, label="mean-field theory"))
        add_legend(figure, shown)
    return figure


def fixed_points_in_plane(
    points: ArrayLike,
    kinds: Sequence[str],
    trajectories: ArrayLike | None = None,
    *,
    labels: tuple[str, str] = ("first principal axis", "second principal axis"),
) -> Figure:
    """Fixed and slow points in two coordinates, `points [P, 2]`, with trajectories `[N, T, 2]` behind them.

    `kinds` as `FixedPoints.kinds` names them: a filled mark is fixed, an empty one slow.
    """
    places = np.asarray(points, np.float64).reshape(-1, 2)
    if len(kinds) != len(places):
        raise ValueError(f"there are {len(places)} points and {len(kinds)} kinds; give as many")
    unknown = {kind.removeprefix("slow ") for kind in kinds} - MARKS.keys()
    if unknown:
        raise ValueError(
            f"unknown kinds {sorted(unknown)}: there are {', '.join(MARKS)}, each also as 'slow …'"
        )
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, COLUMN - 0.2), layout="constrained")
        ax = figure.subplots()
        shown = []
        if trajectories is not None:
            for line in checked("trajectories", np.asarray(trajectories, np.float64), "[N, T, 2]"):
                ax.plot(line[:, 0], line[:, 1], color="#b0b0b0", lw=0.6, zorder=1)
            shown.append(Line2D([], [], color="#b0b0b0", lw=0.6, label="trajectories"))
        for kind in sorted(
            set(kinds), key=lambda kind: ("slow" in kind, list(MARKS).index(kind.split()[-1]))
        ):
            name = kind.removeprefix("slow ")
            here = places[np.array(kinds) == kind]
            fill = "white" if kind != name else KIND_COLOURS[name]
            look: dict[str, Any] = {
                "marker": MARKS[name],
                "ms": 6,
                "mfc": fill,
                "mec": KIND_COLOURS[name],
                "ls": "none",
            }
            ax.plot(here[:, 0], here[:, 1], zorder=3, **look)
            shown.append(Line2D([], [], label=f"{kind} ({len(here)})", **look))
        ax.set(xlabel=labels[0], ylabel=labels[1])
        ax.margins(0.08)
        ax.locator_params(nbins=6, steps=STEPS)
        add_legend(figure, shown)
    return figure
