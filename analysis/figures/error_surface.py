"""Figures of the error surface, as contours and as a landscape, with paths of descent, in the style of
`style.py`."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator
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
    demand_shape,
    entries,
    styles_of,
)

PATH_MARKS = "os^Dv"


def error_surface_contours(
    first: ArrayLike,
    second: ArrayLike,
    loss: ArrayLike,
    gradient_norm: ArrayLike,
    paths: Mapping[str, ArrayLike] | None = None,
    *,
    labels: tuple[str, str] = (r"first direction, $\alpha$", r"second direction, $\beta$"),
) -> Figure:
    """Plots loss and gradient norm over a plane, side by side, with paths of descent on both.

    `first [n]`, `second [m]`, `loss [n, m]`, `gradient_norm [n, m]` (on a logarithmic scale); a path is
    `[points, 2]`, starts at the star, and is clipped at the border.
    """
    x, y = (checked("distances", np.asarray(a, np.float64), "[n]") for a in (first, second))
    losses = demand_shape("losses", loss, (len(x), len(y)))
    norms = demand_shape("gradient norms", gradient_norm, (len(x), len(y)))
    walked = checked_paths(paths)
    floor, top = shown_range(norms)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.7), layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        levels = MaxNLocator(12).tick_values(np.nanmin(losses), np.nanmax(losses))
        filled = left.contourf(x, y, losses.T, levels=levels, cmap="viridis")
        figure.colorbar(filled, ax=left, label="loss $L$", aspect=25, pad=0.02)
        mesh = right.pcolormesh(
            x, y, np.clip(norms, floor, top).T, norm=LogNorm(floor, top), cmap="viridis", rasterized=True
        )
        bar = figure.colorbar(
            mesh, ax=right, label=r"gradient norm $\|\nabla L\|$", extend="both", aspect=25, pad=0.02
        )
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
    elevation: float = 30.0,
    azimuth: float = 50.0,
) -> Figure:
    """Plots the loss as a landscape seen from `elevation` and `azimuth` (degrees), with paths of descent.

    `first [n]`, `second [m]`, `loss [n, m]`; a path is `[points, 3]`, with the loss last, without points outside.
    """
    x, y = (checked("distances", np.asarray(a, np.float64), "[n]") for a in (first, second))
    losses = demand_shape("losses", loss, (len(x), len(y)))
    walked = checked_paths(paths)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(0.75 * PAGE, 3.2), layout="constrained")
        ax: Any = figure.add_subplot(projection="3d", computed_zorder=False)
        across, along = np.meshgrid(x, y, indexing="ij")
        ax.plot_surface(
            across,
            along,
            losses,
            cmap="viridis",
            rcount=len(x),
            ccount=len(y),
            linewidth=0,
            antialiased=False,
            rasterized=True,
        )
        lift = 0.01 * float(np.nanmax(losses) - np.nanmin(losses))
        looks = path_styles(walked)
        for name, path in reversed(list(walked.items())):  # the first on top, where they go together
            shown, marked = cut_at_border(path, x, y), max(1, len(path) // 12)
            ax.plot(*shown.T[:2], shown[:, 2] + lift, zorder=5, markevery=marked, **looks[name])
            ax.plot(
                *path[:1, :2].T, path[:1, 2] + lift, marker="*", ms=7, mfc="white", mec="black", zorder=2.5
            )
        ax.view_init(elev=elevation, azim=azimuth)
        ax.set_box_aspect((1, 1, 0.6), zoom=1.0)
        ax.set(xlabel=labels[0], ylabel=labels[1], zlabel="loss $L$")
        ax.xaxis.labelpad = ax.yaxis.labelpad = ax.zaxis.labelpad = 2
        ax.tick_params(pad=0)
        ax.locator_params(nbins=5, steps=STEPS)
        if walked:
            add_legend(figure, path_entries(walked))
    return figure


def bifurcation(
    curve: tuple[ArrayLike, ArrayLike, ArrayLike],
    edges: tuple[float, float],
    sensitivity: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    start: float,
) -> Figure:
    """Plots the fixed points of x' = w σ(x) + b against b, and the sensitivity of x_T to b, side by side.

    `curve` is b `[n]`, x `[n]` and the stability of x `[n]`; between the `edges` two points are stable. In
    `sensitivity` each name has b `[m]` and |∂x_T/∂b| `[m]`, from x_0 = `start`.
    """
    b, x, stable = (np.asarray(a) for a in curve)
    checked("biases of fixed points", b, "[n]")
    demand_shape("fixed points", x, b.shape)
    # Other colours than those of the fixed points.
    looks = dict(list(styles_of(["stable", "unstable", *sensitivity]).items())[2:])
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.axvspan(*edges, color=GREY, alpha=0.12, lw=0)
        left.plot(b, np.where(stable, x, np.nan), color=COLOURS[0])
        left.plot(b, np.where(stable, np.nan, x), color=COLOURS[1], ls="--")
        room = 0.6 * (edges[1] - edges[0])
        left.set(xlim=(edges[0] - room, edges[1] + room), xlabel="bias $b$", ylabel="fixed point $x$")
        inside = (b > edges[0] - room) & (b < edges[1] + room)
        left.set_ylim(x[inside].min() - 0.3, x[inside].max() + 0.3)
        left.axhline(start, color=GREY, lw=0.8, ls=":")
        right.set(yscale="log", xlabel="bias $b$", ylabel=r"sensitivity $|\partial x_T / \partial b|$")
        for name, (at, values) in sensitivity.items():
            right.plot(np.asarray(at), np.asarray(values), label=name, **looks[name])
        right.axvline(edges[1], color="black", lw=0.8, ls=":")
        every = np.concatenate([np.asarray(at) for at, _ in sensitivity.values()])
        right.set_xlim(every.min(), every.max())
        for ax in (left, right):
            ax.xaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        add_legend(
            figure,
            [
                Line2D([], [], color=COLOURS[0], label="stable"),
                Line2D([], [], color=COLOURS[1], ls="--", label="unstable"),
                Patch(
                    color=GREY,
                    alpha=0.12,
                    lw=0,
                    label=f"two stable: {edges[0]:.5f} … {edges[1]:.5f}".replace("-", "−"),
                ),
                Line2D([], [], color=GREY, lw=0.8, ls=":", label=f"start, x₀ = {start:g}".replace("-", "−")),
                *entries(looks),
                Line2D([], [], color="black", lw=0.8, ls=":", label="where the lower point goes"),
            ],
        )
    return figure


def shown_range(norms: Numbers) -> tuple[float, float]:
    """Returns the limits of a logarithmic colour scale: all but the smallest hundredth and the largest thousandth
    of the values, eight decades at most, since single points on a cliff are far higher than the rest."""
    positive = norms[np.isfinite(norms) & (norms > 0)]
    if not positive.size:
        return 1e-1, 1.0
    low, high = np.quantile(positive, [0.01, 0.999])
    return max(low, 1e-8 * high), max(high, 10 * low)


def cut_at_border(path: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """Clips a path at the border of the plane, with gaps outside (3D axes don't clip)."""
    low, high = np.array([x[0], y[0]]), np.array([x[-1], y[-1]])
    inside = np.all((path[:, :2] >= low) & (path[:, :2] <= high), axis=1)
    pieces = []
    for i, point in enumerate(path):
        pieces.append(point if inside[i] else np.full(3, np.nan))
        if i + 1 < len(path) and inside[i] != inside[i + 1]:
            begin, end = (point, path[i + 1]) if inside[i] else (path[i + 1], point)
            move = end[:2] - begin[:2]
            room = np.where(move > 0, high - begin[:2], low - begin[:2])
            share = np.min(np.divide(room, move, out=np.full(2, np.inf), where=move != 0))
            pieces.append(begin + share * (end - begin))
    return np.array(pieces)


def draw_paths(ax: Axes, paths: Mapping[str, Numbers]) -> None:
    """Draws each path with its mark, and a star at its start; with white outlines, to be visible on any
    background."""
    looks = path_styles(paths)
    for name, path in reversed(list(paths.items())):  # the first on top, where they go together
        ax.plot(path[:, 0], path[:, 1], color="white", lw=2.6)
        ax.plot(path[:, 0], path[:, 1], markevery=max(1, len(path) // 12), **looks[name])
        ax.plot(*path[:1, :2].T, marker="*", ms=7, mfc="white", mec="black", zorder=2.5)


def path_styles(paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns colour and mark of each path, by its position; without blue and green, which the background has."""
    colours = ("#D55E00", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
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
    """Returns the legend's entries for the paths and the star."""
    star = Line2D([], [], marker="*", ms=7, mfc="white", mec="black", ls="none", label="start")
    return [*(Line2D([], [], label=name, **look) for name, look in path_styles(paths).items()), star]


def checked_paths(paths: Mapping[str, ArrayLike] | None) -> dict[str, Numbers]:
    """Converts the paths to arrays `[points, 2 or 3]`."""
    return {
        name: checked(f"points of path {name!r}", np.asarray(path, np.float64), "[points, 2]")
        for name, path in (paths or {}).items()
    }
