"""Figures of n-gram models against n, in the style of `style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from numpy.typing import ArrayLike

from analysis.figures.lengths import MARKER_SIZE, columns, looks
from analysis.figures.style import (
    COLOURS,
    PAGE,
    SETTINGS,
    Figure,
    add_legend,
    checked,
    decades,
    demand_names,
    demand_shape,
)

NAMES = {
    "mle": "maximum likelihood",
    "add_k": "add-k",
    "stupid_backoff": "stupid back-off (scores)",
    "katz": "Katz back-off",
    "kneser_ney": "modified Kneser–Ney",
}


def perplexity_by_order(curves: Mapping[str, Mapping[str, ArrayLike]], *, split: str) -> Figure:
    """Plots perplexity against n, one line per smoothing: `{"order": [n], "perplexity": [n]}`, without infinite
    ones.

    The legend names the n from which a smoothing is infinite.
    """
    demand_names(curves, "perplexities")
    read = {name: columns(name, curve, "order", "perplexity") for name, curve in curves.items()}
    finite = np.concatenate([values[np.isfinite(values)] for _, values in read.values()])
    appearance = looks(read)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(0.75 * PAGE, 2.6), layout="compressed")
        ax = figure.add_subplot(xlabel="order of the model, $n$", ylabel=f"perplexity, {split}")
        handles = []
        for name, (orders, values) in read.items():
            ax.plot(
                orders,
                np.where(np.isfinite(values), values, np.nan),
                markersize=MARKER_SIZE,
                **appearance[name],
            )
            infinite = orders[np.isinf(values)]
            label = NAMES.get(name, name) + (
                f", infinite from n = {infinite[0]:.0f} on" if infinite.size else ""
            )
            handles.append(Line2D([], [], markersize=MARKER_SIZE, label=label, **appearance[name]))
        ax.set(yscale="log", ylim=10 ** decades(np.log10(finite)))
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        count_orders(ax, np.concatenate([orders for orders, _ in read.values()]))
        add_legend(figure, handles)
    return figure


def size_by_order(order: ArrayLike, size: ArrayLike, unseen: Mapping[str, ArrayLike]) -> Figure:
    """Plots the number of different n-grams in the training text, and the fraction of other texts' n-grams it
    lacks.

    order, size [n]; `unseen` by split the fractions [n] in 0 … 1.
    """
    demand_names(unseen, "shares")
    orders = checked("orders", np.asarray(order, np.float64), "[n]")
    sizes = demand_shape("sizes", size, orders.shape)
    appearance = looks(unseen)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.2), layout="compressed")
        left, right = figure.subplots(1, 2)
        left.bar(orders, sizes, width=0.6, color=COLOURS[0])
        left.set(title="model size", xlabel="$n$", ylabel="different $n$-grams, train")
        left.set_ylim(0, sizes.max() * 1.1)
        left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        left.grid(visible=False, axis="x")
        for x, value in zip(orders, sizes, strict=True):
            left.annotate(
                f"{value:,.0f}", (x, value), (0, 2), textcoords="offset points", ha="center", fontsize=6.5
            )
        for name, shares in unseen.items():
            values = demand_shape(f"shares of {name!r}", shares, orders.shape)
            right.plot(orders, values, label=name, markersize=MARKER_SIZE, **appearance[name])
        right.set(title="sparsity", xlabel="$n$", ylabel="$n$-grams never seen in train", ylim=(-0.03, 1.03))
        right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        right.legend(loc="upper left")
        for ax in (left, right):
            count_orders(ax, orders)
    return figure


def count_orders(ax: Axes, orders: np.ndarray) -> None:
    """Puts a tick at each n."""
    low, high = orders.min(), orders.max()
    ax.xaxis.set_major_locator(FixedLocator(np.unique(orders).tolist()))
    ax.set_xlim(low - 0.5, high + 0.5)
