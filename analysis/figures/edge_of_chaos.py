"""Figures of the edge of chaos: exponents over the plane of gain and bias, and the trainable depth in time.

In the style of `style.py`: without computation, and values that an axis can't show are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from analysis.figures.style import (
    PAGE,
    SETTINGS,
    STEPS,
    Figure,
    Numbers,
    add_legend,
    checked,
    demand_names,
    demand_shape,
    panel_grid,
)

GAIN, BIAS = r"recurrent gain, $\sigma_w$", r"biases, $\sigma_b$"
EXPONENTS = "PuOr_r"


@dataclass(frozen=True)
class Plane:
    """Mean-field theory over the plane: λ₁ `exponent [n, m]` at `sigma_w [n]`, `sigma_b [m]`, and the critical gain
    `edge [m]` at every σ_b."""

    sigma_w: Numbers
    sigma_b: Numbers
    exponent: Numbers
    edge: Numbers

    def __post_init__(self) -> None:
        checked("gains", self.sigma_w, "[n]")
        checked("biases", self.sigma_b, "[m]")
        demand_shape("exponents", self.exponent, (len(self.sigma_w), len(self.sigma_b)))
        demand_shape("gains at the edge", self.edge, (len(self.sigma_b),))


def exponent_planes(theory: Plane, sigma_w: ArrayLike, sigma_b: ArrayLike, measured: ArrayLike) -> Figure:
    """Plots λ₁ over gain and bias, from theory and measured, `measured [n, m]` at `sigma_w [n]`, `sigma_b [m]`,
    with the theory's edge of chaos on both."""
    gains, biases = (checked("deviations", np.asarray(a, np.float64), "[n]") for a in (sigma_w, sigma_b))
    values = demand_shape("measured exponents", measured, (len(gains), len(biases)))
    norm = colours_of(np.concatenate([theory.exponent.ravel(), values.ravel()]))
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.7), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        mesh = shade(axes[0], theory, norm)
        edges = [between(gains), between(biases)]
        axes[1].pcolormesh(*edges, clipped(values, norm).T, norm=norm, cmap=EXPONENTS, rasterized=True)
        for ax, title in zip(axes, ("mean-field theory, N → ∞", "measured"), strict=True):
            ax.grid(False)
            draw_edge(ax, theory)
            ax.set(title=title, xlabel=GAIN)
            frame(ax, theory)
        axes[0].set_ylabel(BIAS)
        bar = figure.colorbar(mesh, ax=axes, label="λ₁ (nats per step)", aspect=25, pad=0.02)
        bar.ax.set_yscale("linear")
        bar.locator = MaxNLocator(7, steps=STEPS)
        add_legend(figure, [EDGE])
    return figure


def depth_reached(
    sigma_w: ArrayLike,
    lengths: ArrayLike,
    panels: Mapping[str, ArrayLike],
    scales: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    learnt: float,
) -> Figure:
    """Plots the accuracy after training over gain and depth in time, one panel for each σ_b: `panels[σ_b] [n, T]`
    at `sigma_w [n]`, `lengths [T]`, with lines ξ and 6 ξ from `scales[σ_b]` = (gains `[k]`, ξ `[k]`), and dots
    where the accuracy is at least `learnt`."""
    demand_names(panels, "accuracies")
    gains, depths = (checked("axes", np.asarray(a, np.float64), "[n]") for a in (sigma_w, lengths))
    read = {
        name: demand_shape(f"accuracies of {name!r}", values, (len(gains), len(depths)))
        for name, values in panels.items()
    }
    rows = 2.0 ** between(np.log2(depths))
    outline = [withStroke(linewidth=2.6, foreground="white")]
    black: dict[str, Any] = {"color": "black", "lw": 1.4, "path_effects": outline}
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(read, 2.1, GAIN, "depth in time, $T$ (steps)")
        mesh = None
        for ax, (name, values) in zip(axes, read.items(), strict=True):
            ax.set_title(rf"$\sigma_b = {name}$")
            mesh = ax.pcolormesh(
                between(gains), rows, values.T, vmin=0, vmax=1, cmap="viridis", rasterized=True
            )
            x, xi = (np.asarray(a, np.float64) for a in scales[name])
            ax.plot(x, xi, ls="--", **black)
            ax.plot(x, 6 * xi, **black)
            i, j = np.nonzero(values >= learnt)
            ax.plot(gains[i], depths[j], ls="none", marker="o", ms=2, color="black", mew=0)
            ax.grid(False)
            ax.set(yscale="log", ylim=(rows[0], rows[-1]), xlim=(between(gains)[0], between(gains)[-1]))
        axes[0].yaxis.set_major_locator(FixedLocator(list(depths)))
        axes[0].yaxis.set_minor_locator(NullLocator())
        axes[0].yaxis.set_major_formatter("{x:g}")
        axes[0].xaxis.set_major_locator(MaxNLocator(4, steps=STEPS))
        assert mesh is not None
        figure.colorbar(mesh, ax=axes, label="accuracy, held out", aspect=25, pad=0.02)
        lines = [
            Line2D([], [], color="black", ls="--", lw=1.4, label="ξ = −1 / ln χ at c*, theory"),
            Line2D([], [], color="black", lw=1.4, label="6 ξ"),
            Line2D([], [], color="black", ls="none", marker="o", ms=2, label=f"learnt: {learnt:.0%} or more"),
        ]
        add_legend(figure, lines)
    return figure


def depth_over_plane(theory: Plane, sigma_w: ArrayLike, sigma_b: ArrayLike, reached: ArrayLike) -> Figure:
    """Plots the longest T that was learnt, `reached [n, m]`, as the size and number of a disc at every gain and
    bias, over the theory's λ₁ and edge of chaos. A cross marks where none was."""
    gains, biases = (checked("deviations", np.asarray(a, np.float64), "[n]") for a in (sigma_w, sigma_b))
    depths = demand_shape("depths", reached, (len(gains), len(biases)))
    norm = colours_of(theory.exponent.ravel())
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(0.75 * PAGE, 3.2), layout="constrained")
        ax = figure.subplots()
        mesh = shade(ax, theory, norm)
        draw_edge(ax, theory)
        ax.grid(False)
        largest = max(float(depths.max()), 1.0)
        for i, gain in enumerate(gains):
            for j, bias in enumerate(biases):
                if depths[i, j] > 0:
                    size = 8 + 11 * np.sqrt(depths[i, j] / largest)
                    ax.plot(
                        gain, bias, "o", ms=size, mfc="white", mec="black", mew=0.7, zorder=3, clip_on=False
                    )
                    ax.text(gain, bias, f"{depths[i, j]:g}", ha="center", va="center", fontsize=6, zorder=4)
                else:
                    ax.plot(gain, bias, "x", ms=4, color="black", zorder=3, clip_on=False)
        frame(ax, theory)
        ax.set(xlabel=GAIN, ylabel=BIAS)
        bar = figure.colorbar(mesh, ax=ax, label="λ₁ = ½ ln χ (nats per step)", aspect=25, pad=0.02)
        bar.ax.set_yscale("linear")
        bar.locator = MaxNLocator(7, steps=STEPS)
        disc = Line2D([], [], ls="none", marker="o", ms=6, mfc="white", mec="black", mew=0.7)
        disc.set_label("longest T learnt")
        add_legend(figure, [EDGE, disc])
    return figure


EDGE = Line2D([], [], color="black", lw=1.6, label="edge of chaos, χ = 1")


def colours_of(values: Numbers) -> TwoSlopeNorm:
    """Returns a colour scale with white at zero, limited so that very negative values don't dominate it."""
    finite = values[np.isfinite(values)]
    low, high = min(finite.min(initial=-0.1), -0.1), max(finite.max(initial=0.1), 0.1)
    return TwoSlopeNorm(0.0, max(low, -3 * high), high)


def clipped(values: Numbers, norm: TwoSlopeNorm) -> Numbers:
    """Clips values to the range of the colours, −∞ to the lowest."""
    return np.clip(values, norm.vmin, norm.vmax)


def shade(ax: Axes, theory: Plane, norm: TwoSlopeNorm) -> Any:
    """Draws the theory's λ₁ as colours."""
    values = clipped(theory.exponent, norm).T
    look: dict[str, Any] = {"norm": norm, "cmap": EXPONENTS, "shading": "gouraud", "rasterized": True}
    return ax.pcolormesh(theory.sigma_w, theory.sigma_b, values, **look)


def frame(ax: Axes, theory: Plane) -> None:
    """Sets the limits of the axes to the range of the theory."""
    ax.set(xlim=theory.sigma_w[[0, -1]], ylim=theory.sigma_b[[0, -1]])


def draw_edge(ax: Axes, theory: Plane) -> None:
    """Draws the line χ = 1."""
    ax.plot(theory.edge, theory.sigma_b, color="black", lw=1.6)


def between(values: Numbers) -> Numbers:
    """Returns the borders of cells around values, `[n]` → `[n + 1]`: midpoints, extrapolated at the ends."""
    middles = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middles[0]], middles, [2 * values[-1] - middles[-1]]])
