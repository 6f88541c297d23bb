"""Figures of fixed points among the trajectories of a net, and of its outputs, in the style of `style.py`."""

from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
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
    count_along,
    demand_shape,
)

# By the number of unstable directions: none, one, two, more.
MARKS = ("o", "X", "D", "s")
MARK_COLOURS = COLOURS[:4]  # those that panels side by side have in figures.eigenvalues_in_plane
MARK_SIZES = (6.5, 5.5, 4.5, 5.0)
PATH = "#b8b8b8"
AXES = ("principal axis 1", "principal axis 2", "principal axis 3")


def kind_of(unstable: int) -> str:
    """Names the kind of a point for figures and tables: `saddle, 2 unstable directions`."""
    if unstable == 0:
        return "stable"
    return f"saddle, {unstable} unstable direction{'s' if unstable > 1 else ''}"


def mark_of(unstable: int, fixed: bool = True) -> dict[str, Any]:
    """Returns mark and colour of a point; slow points have hollow marks."""
    i = min(unstable, len(MARKS) - 1)
    fill = MARK_COLOURS[i] if fixed else "white"
    return {"marker": MARKS[i], "ms": MARK_SIZES[i], "mfc": fill, "mec": MARK_COLOURS[i], "ls": "none"}


def fixed_points_in_axes(
    points: ArrayLike,
    unstable: ArrayLike,
    fixed: ArrayLike,
    trajectories: ArrayLike,
    manifolds: ArrayLike | None = None,
    *,
    elevation: float = 22.0,
    azimuth: float = -62.0,
) -> Figure:
    """Plots fixed and slow points in three coordinates, in 3D and in two projections, over trajectories.

    `points [P, 3]`; `unstable [P]` the number of unstable directions of each, which determines its mark; `fixed
    [P]` False for slow points, whose marks are hollow; `trajectories [N, T, 3]`; `manifolds [M, T, 3]` the unstable
    manifolds of saddles, if any. The 3D view is from `elevation` and `azimuth`, in degrees.
    """
    places = np.asarray(points, np.float64).reshape(-1, 3)
    counts = demand_shape("numbers of unstable directions", unstable, (len(places),)).astype(int)
    at_rest = np.asarray(fixed, bool)
    demand_shape("marks of fixed points", at_rest, (len(places),))
    paths = checked("trajectories", np.asarray(trajectories, np.float64), "[N, T, 3]")
    down = np.zeros((0, 1, 3)) if manifolds is None else np.asarray(manifolds, np.float64)
    kinds = sorted({(not rest, int(count)) for count, rest in zip(counts, at_rest, strict=True)})
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.5), layout="constrained")
        grid = figure.add_gridspec(1, 4, width_ratios=(1.3, 0.08, 1, 1))  # room for the body's third label
        body: Any = figure.add_subplot(grid[0], projection="3d", computed_zorder=False)
        body.view_init(elevation, azimuth)
        body.set_box_aspect((1, 1, 0.9), zoom=1.0)
        panels = [
            (body, (0, 1, 2)),
            (figure.add_subplot(grid[2]), (0, 1)),
            (figure.add_subplot(grid[3]), (0, 2)),
        ]
        shown: list[Artist] = [Line2D([], [], color=PATH, lw=0.8, label="trajectories")]
        for ax, of in panels:
            for path in paths:
                ax.plot(*path[:, list(of)].T, color=PATH, lw=0.5, alpha=0.8, zorder=1)
            for way in down:
                ax.plot(*way[:, list(of)].T, color=MARK_COLOURS[1], lw=1.0, zorder=2)
            for slow, count in reversed(kinds):  # the stable points on top
                here = places[(counts == count) & (at_rest != slow)]
                ax.plot(*here[:, list(of)].T, zorder=3 + (count == 0), mew=0.8, **mark_of(count, not slow))
        if len(down):
            shown.append(Line2D([], [], color=MARK_COLOURS[1], lw=1.0, label="unstable manifolds of saddles"))
        for slow, count in kinds:
            number = int(np.sum((counts == count) & (at_rest != slow)))
            name = f"{'slow, ' if slow else ''}{kind_of(count)} ({number})"
            shown.append(Line2D([], [], label=name, **mark_of(count, not slow)))
        for ax, of in panels:
            ax.set(xlabel=AXES[of[0]], ylabel=AXES[of[1]])
            for axis in (ax.xaxis, ax.yaxis, *([body.zaxis] if ax is body else [])):
                axis.set_major_locator(MaxNLocator(4, steps=STEPS))
        body.set_zlabel(AXES[2])
        for axis in (body.xaxis, body.yaxis, body.zaxis):
            axis.labelpad = -6
            axis.set_tick_params(pad=-3)
            axis.set_pane_color((1.0, 1.0, 1.0, 0.0))
        add_legend(figure, shown)
    return figure


def bits_against_time(inputs: ArrayLike, targets: ArrayLike, outputs: ArrayLike) -> Figure:
    """Plots the inputs and the outputs of a flip-flop net: one panel per bit, each array `[T, bits]`."""
    shape = np.shape(inputs)
    pulses: Numbers = checked("inputs", np.asarray(inputs, np.float64), "[T, bits]")
    wanted, given = demand_shape("targets", targets, shape), demand_shape("outputs", outputs, shape)
    steps = np.arange(1, len(pulses) + 1)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(0.75 * PAGE, 0.4 + 0.75 * shape[1]), layout="constrained")
        axes = figure.subplots(shape[1], 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for i, ax in enumerate(axes):
            come = pulses[:, i] != 0
            ax.vlines(steps[come], 0, pulses[come, i], color=GREY, lw=1.2)
            ax.step(steps, wanted[:, i], where="mid", color=COLOURS[1], ls=(0, (5, 1.5)), lw=1.0)
            ax.plot(steps, given[:, i], color=COLOURS[0])
            ax.set(ylabel=f"bit {i + 1}", ylim=(-1.5, 1.5), yticks=(-1, 0, 1))
        count_along(axes[0], 1, len(steps), ticks=8)
        axes[-1].set_xlabel("time (step)")
        looks = {
            "pulse": {"color": GREY, "lw": 1.2},
            "target": {"color": COLOURS[1], "ls": (0, (5, 1.5)), "lw": 1.0},
            "output": {"color": COLOURS[0]},
        }
        add_legend(figure, [Line2D([], [], label=name, **look) for name, look in looks.items()])
    return figure
