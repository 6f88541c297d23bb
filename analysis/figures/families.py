"""Figures that compare kinds of language models, in the style of `style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import ArrayLike

from analysis.figures.language import LARGEST, perplexities, plain_log
from analysis.figures.lengths import columns
from analysis.figures.style import (
    PAGE,
    SETTINGS,
    Figure,
    add_legend,
    checked,
    count_along,
    demand_names,
    demand_shape,
    draw_line,
    entries,
    styles_of,
)

MOST = np.exp(LARGEST)


def families_side_by_side(
    by_order: Mapping[str, Mapping[str, ArrayLike]],
    unbounded: Mapping[str, float],
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    split: str,
) -> Figure:
    """Plots perplexity against the order n of a model (left), and validation perplexity during training (right).

    Left a line for each kind with an order, whose context is n − 1 tokens, `{"order": [m], "perplexity": [m]}`,
    and a horizontal line for each model with unbounded context. Right `{"step": [k], "cross_entropy": [k]}` in
    nats. A name has the same style in both.
    """
    demand_names(by_order, "perplexities")
    read = {name: columns(name, curve, "order", "perplexity") for name, curve in by_order.items()}
    trained = {}
    for name, curve in curves.items():
        steps = checked(f"steps of {name!r}", np.asarray(curve["step"], np.float64), "[n]")
        trained[name] = (steps, demand_shape(f"losses of {name!r}", curve["cross_entropy"], steps.shape))
    styles = styles_of([*trained, *read, *unbounded])
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        orders = np.unique(np.concatenate([order for order, _ in read.values()]))
        left.set(xlabel="order of the model, $n$", ylabel=f"perplexity, {split}", yscale="log")
        for name, (order, values) in read.items():
            left.plot(
                order, np.where(values < MOST, values, np.nan), marker="o", markersize=3.5, **styles[name]
            )
        for name, value in unbounded.items():
            if value < MOST:
                left.axhline(value, **styles[name])
        left.xaxis.set_major_locator(FixedLocator(orders.tolist()))
        left.set_xlim(orders[0] - 0.3, orders[-1] + 0.3)
        right.set(xlabel="training step", ylabel="perplexity, valid", yscale="log")
        for name, (steps, losses) in trained.items():
            draw_line(right, steps, perplexities(losses), label=name, **styles[name])
        if trained:
            every = np.concatenate([steps for steps, _ in trained.values()])
            count_along(right, every.min(), every.max(), ticks=5)
            right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        for ax in (left, right):
            ax.margins(y=0.08)
            plain_log(ax)
        add_legend(figure, entries(styles))
    return figure
