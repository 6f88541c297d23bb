"""Loss against training time and against parameters, in the style of `style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.ticker import MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from analysis.figures.style import (
    GREY,
    PAGE,
    SETTINGS,
    Figure,
    add_legend,
    demand_names,
    demand_shape,
    draw_line,
    entries,
    styles_of,
)


def loss_against_size_and_time(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    reached: Mapping[str, float],
    parameters: Mapping[str, float],
    *,
    law: tuple[float, float] | None = None,
) -> Figure:
    """Plots the held-out loss of each net during training against minutes (left), and the loss that it reached
    against its parameters (right), on logarithmic axes.

    A curve is `{"minutes": [n], "cross_entropy": [n]}` in nats; its end is marked at the loss `reached`, which may
    be measured in another way. `law` is (a, b) of the dashed line a · N^−b.
    """
    demand_names(curves, "curves")
    styles = styles_of(curves)
    handles = entries(styles)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.6), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        left.set(xlabel="minutes of training", ylabel="nats a token, held out", xscale="log", yscale="log")
        right.set(xlabel="parameters, $N$", xscale="log")
        for name, curve in curves.items():
            minutes = np.asarray(curve["minutes"], np.float64)
            losses = demand_shape(f"losses of {name!r}", curve["cross_entropy"], minutes.shape)
            shown = minutes > 0
            draw_line(left, minutes[shown], losses[shown], label=name, **styles[name])
            colour = styles[name]["color"]
            left.plot(minutes[-1], reached[name], "o", ms=4, color=colour)
            right.plot(parameters[name], reached[name], "o", ms=5, color=colour)
        if law is not None:
            a, b = law
            sizes = np.array([min(parameters.values()), max(parameters.values())], np.float64)
            (line,) = right.plot(
                sizes, a * sizes**-b, ls="--", lw=0.9, color=GREY, label=f"{a:.2f} N^{-b:.3f}"
            )
            handles = [*handles, line]
        for axis in (left.yaxis, right.yaxis):
            axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        add_legend(figure, handles)
    return figure
