"""Figures of what theory and geometry say: phase diagram, error surface, fixed points. Arrays in, figures out.

Same rules as in `analysis/figures.py`: nothing is computed here, colours are told apart by the colour-blind
and lines by their dashes or marks too, and what an axis can't show is left out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import ArrayLike

from analysis.drawing import (
    COLOURS,
    COLUMN,
    PAGE,
    SETTINGS,
    STEPS,
    Numbers,
    add_legend,
    checked,
    count_along,
    decades,
    demand_names,
    draw_band,
    draw_line,
    entries,
    quartiles,
    styles_of,
)

MARKS = {"stable": "o", "saddle": "X", "unstable": "s"}
KIND_COLOURS = {"stable": COLOURS[0], "saddle": COLOURS[1], "unstable": COLOURS[6]}
PATH_MARKS = "os^Dv"


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
            ("ordered:\nvanish", 0.04, 0.96, "left"),
            ("chaotic:\nexplode", 0.96, 0.06, "right"),
        ):
            place: Any = "top" if side == "left" else "bottom"
            ax.text(x, y, f"{text}", transform=ax.transAxes, ha=side, va=place, bbox=PLATE)
        bar = figure.colorbar(
            mesh, ax=ax, label=r"$\lambda_1 = \frac{1}{2}\ln\chi$  (nats per step)", aspect=25, pad=0.02
        )
        bar.ax.set_yscale("linear")
        bar.locator = MaxNLocator(6, steps=STEPS)
        add_legend(figure, [Line2D([], [], color="black", lw=1.6, label=r"edge of chaos, $\chi = 1$")])
    return figure


PLATE = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5}  # behind text on colours


def gradient_beside_theory(measured: Mapping[str, ArrayLike], theory: Mapping[str, ArrayLike]) -> Figure:
    """Gradient norm against the lag, measured as lines and predicted as thin black ones, one colour a name.

    `measured[name]` is `[K]` or `[K, N]` at lags 1 … K, whose median and quartiles are drawn; `theory[name]`
    the natural logarithm of the same norm, `[K]`. Names without a theory are drawn without.
    """
    demand_names(measured, "gradient norms")
    rows = {
        name: np.log10(quartiles(f"gradient norms of {name!r}", norms)) for name, norms in measured.items()
    }
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


def error_surface_contours(
    first: ArrayLike,
    second: ArrayLike,
    loss: ArrayLike,
    gradient_norm: ArrayLike,
    paths: Mapping[str, ArrayLike] | None = None,
    *,
    labels: tuple[str, str] = (r"first direction, $\alpha$", r"second direction, $\beta$"),
) -> Figure:
    """Loss and gradient norm over a plane, side by side, with paths of descent on both.

    `first [n]`, `second [m]`, `loss [n, m]`, `gradient_norm [n, m]` (drawn by its logarithm); a path is
    `[points, 2]` and begins at the star; what of it lies outside the picture isn't drawn.
    """
    x, y = (checked("distances", np.asarray(a, np.float64), "[n]") for a in (first, second))
    losses = demand_shape("losses", loss, (len(x), len(y)))
    norms = demand_shape("gradient norms", gradient_norm, (len(x), len(y)))
    walked = checked_paths(paths)
    floor = max(norms[norms > 0].min(initial=1.0), 1e-8 * norms.max(initial=1e-300))
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        levels = MaxNLocator(12).tick_values(np.nanmin(losses), np.nanmax(losses))
        filled = left.contourf(x, y, losses.T, levels=levels, cmap="viridis")
        figure.colorbar(filled, ax=left, label="loss $L$", aspect=25, pad=0.02)
        mesh = right.pcolormesh(
            x,
            y,
            np.maximum(norms, floor).T,
            norm=LogNorm(floor, norms.max()),
            cmap="viridis",
            rasterized=True,
        )
        bar = figure.colorbar(mesh, ax=right, label=r"gradient norm $\|\nabla L\|$", aspect=25, pad=0.02)
        bar.locator = LogLocator(numticks=7)
        for ax in (left, right):
            ax.grid(False)
            draw_paths(ax, walked)
            ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel=labels[0])
            ax.locator_params(nbins=6, steps=STEPS)
        left.set_ylabel(labels[1])
        if walked:
            add_legend(figure, path_entries(walked))
    return figure


def error_surface_3d(
    first: ArrayLike,
    second: ArrayLike,
    loss: ArrayLike,
    paths: Mapping[str, ArrayLike] | None = None,
    *,
    labels: tuple[str, str] = (r"first direction, $\alpha$", r"second direction, $\beta$"),
    elevation: float = 35.0,
    azimuth: float = -120.0,
) -> Figure:
    """The loss as a landscape seen from `elevation` and `azimuth` (degrees), with paths of descent on it.

    `first [n]`, `second [m]`, `loss [n, m]`; a path is `[points, 3]`, its loss last; points outside are left
    out.
    """
    x, y = (checked("distances", np.asarray(a, np.float64), "[n]") for a in (first, second))
    losses = demand_shape("losses", loss, (len(x), len(y)))
    walked = checked_paths(paths)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(0.75 * PAGE, 3.6), layout="constrained")
        ax: Any = figure.add_subplot(projection="3d", computed_zorder=False)
        across, along = np.meshgrid(x, y, indexing="ij")
        ax.plot_surface(
            across,
            along,
            losses,
            cmap="viridis",
            rcount=120,
            ccount=120,
            linewidth=0,
            antialiased=False,
            rasterized=True,
        )
        lift = 0.01 * float(np.nanmax(losses) - np.nanmin(losses))
        for (_, path), appearance in zip(walked.items(), path_styles(walked).values(), strict=True):
            inside = (
                (path[:, 0] >= x[0]) & (path[:, 0] <= x[-1]) & (path[:, 1] >= y[0]) & (path[:, 1] <= y[-1])
            )
            shown = np.where(inside[:, None], path, np.nan)
            ax.plot(shown[:, 0], shown[:, 1], shown[:, 2] + lift, zorder=5, **appearance)
            ax.plot(*path[:1, :2].T, path[:1, 2] + lift, marker="*", ms=9, mfc="white", mec="black", zorder=6)
        ax.view_init(elev=elevation, azim=azimuth)
        ax.set_box_aspect((1, 1, 0.6), zoom=0.88)
        ax.set(xlabel=labels[0], ylabel=labels[1], zlabel="loss $L$")
        ax.xaxis.labelpad = ax.yaxis.labelpad = ax.zaxis.labelpad = 2
        ax.tick_params(pad=0)
        ax.locator_params(nbins=5, steps=STEPS)
        if walked:
            add_legend(figure, path_entries(walked))
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


def draw_paths(ax: Axes, paths: Mapping[str, Numbers]) -> None:
    """Each path with its mark, and a star where it begins; white round the lines, so that they show on any
    ground."""
    for (_, path), appearance in zip(paths.items(), path_styles(paths).values(), strict=True):
        ax.plot(path[:, 0], path[:, 1], color="white", lw=2.6)
        ax.plot(path[:, 0], path[:, 1], **appearance)
        ax.plot(*path[:1, :2].T, marker="*", ms=9, mfc="white", mec="black", zorder=6)


def path_styles(paths: Mapping[str, Numbers]) -> dict[str, dict[str, Any]]:
    """Colour and mark of each path, by its place; blue and green drown in the ground's colours and are left
    out."""
    colours = ("#D55E00", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
    return {
        name: {
            "color": colours[i % 5],
            "marker": PATH_MARKS[i % 5],
            "ms": 3,
            "mec": "white",
            "mew": 0.4,
            "lw": 1.2,
        }
        for i, name in enumerate(paths)
    }


def path_entries(paths: Mapping[str, Numbers]) -> list[Line2D]:
    """A legend's entry for every path, and for the star."""
    star = Line2D([], [], marker="*", ms=9, mfc="white", mec="black", ls="none", label="start")
    return [*(Line2D([], [], label=name, **look) for name, look in path_styles(paths).items()), star]


def checked_paths(paths: Mapping[str, ArrayLike] | None) -> dict[str, Numbers]:
    """The paths as arrays `[points, 2 or 3]`."""
    return {
        name: checked(f"points of path {name!r}", np.asarray(path, np.float64), "[points, 2]")
        for name, path in (paths or {}).items()
    }


def demand_shape(what: str, values: ArrayLike, shape: tuple[int, ...]) -> Numbers:
    """The values, if they have that shape."""
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"{what} have shape {list(array.shape)}; expected {list(shape)}")
    return array
