"""Figures of language models, in the style of `style.py`."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import ArrayLike

from analysis.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    Figure,
    Numbers,
    add_legend,
    checked,
    count_along,
    decades,
    demand_names,
    demand_shape,
    draw_line,
    entries,
    styles_of,
)

LARGEST = 230.0  # nats: a perplexity of 10¹⁰⁰; the limits of an axis are floats then, and so is their ratio


def perplexities(losses: ArrayLike) -> Numbers:
    """Computes the exponentials of losses in nats; NaN, a gap in a line, beyond 10¹⁰⁰."""
    given = np.asarray(losses, np.float64)
    return np.exp(np.where(given < LARGEST, given, np.nan))


def perplexity_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    baseline: float | None = None,
    baseline_label: str = "n-gram model",
) -> Figure:
    """Plots loss, in nats per token, and perplexity, its exponential, against the training step, one line per name.

    Each value is `{"step": [n], "cross_entropy": [n]}`. `baseline` is a perplexity, a thin dashed line in both
    panels.
    """
    demand_names(curves, "curves")
    read = {}
    for name, curve in curves.items():
        steps = checked(f"steps of {name!r}", np.asarray(curve["step"], np.float64), "[n]")
        read[name] = (steps, demand_shape(f"losses of {name!r}", curve["cross_entropy"], steps.shape))
    every = np.concatenate([steps for steps, _ in read.values()])
    styles = styles_of(read)
    handles = entries(styles)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.3), layout="constrained")
        left, right = figure.subplots(1, 2, sharex=True)
        for name, (steps, losses) in read.items():
            draw_line(left, steps, losses, label=name, **styles[name])
            draw_line(right, steps, perplexities(losses), label=name, **styles[name])
        if baseline is not None:
            left.axhline(np.log(baseline), color=GREY, lw=0.9, ls="--")
            right.axhline(baseline, color=GREY, lw=0.9, ls="--")
            handles.append(Line2D([], [], color=GREY, lw=0.9, ls="--", label=baseline_label))
        left.set(xlabel="training step", ylabel="cross entropy (nats a token)")
        right.set(xlabel="training step", ylabel="perplexity", yscale="log")
        plain_log(right)
        count_along(left, every.min(), every.max(), ticks=5)
        left.xaxis.set_major_formatter("{x:,.0f}")
        add_legend(figure, handles)
    return figure


def perplexity_by_position(
    position: ArrayLike,
    cross_entropy: ArrayLike | Mapping[str, ArrayLike],
    error: ArrayLike | Mapping[str, ArrayLike],
    carried: float | None = None,
    carried_label: str = "state carried through the text",
) -> Figure:
    """Plots the perplexity of tokens against their position after a zero state, counted from 1.

    `position [b]`, centres of bins; `cross_entropy [b]` and its standard error `error [b]`, nats: of one model,
    or of several by name. `carried` is the mean loss of tokens with the state carried through the text, or
    otherwise read with all that comes before, a dashed line of that label.
    """
    places = checked("positions", np.asarray(position, np.float64), "[b]")
    means = named("cross entropies", cross_entropy, places.shape, "state begun at zero")
    errors = dict(zip(means, named("errors", error, places.shape, "").values(), strict=True))
    styles = styles_of(means)
    with style.context(SETTINGS, after_reset=True):
        width = COLUMN if len(means) == 1 else 0.75 * PAGE
        figure = Figure(figsize=(width, 2.2), layout="constrained")
        ax = figure.subplots()
        ax.set(xlabel="tokens read since a state of zero", ylabel="perplexity", xscale="log", yscale="log")
        handles: list[Artist] = []
        for name, mean in means.items():
            low, high = perplexities(mean - errors[name]), perplexities(mean + errors[name])
            ax.fill_between(places, low, high, color=styles[name]["color"], alpha=0.25, linewidth=0)
            handles += ax.plot(places, perplexities(mean), marker="o", label=name, **styles[name])
        if carried is not None and carried < LARGEST:
            height = float(np.exp(carried))
            handles.append(ax.axhline(height, color=GREY, lw=0.9, ls="--", label=carried_label))
        plain_log(ax)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        add_legend(figure, handles)
    return figure


def perplexity_by_frequency(
    least: ArrayLike, cross_entropy: ArrayLike | Mapping[str, ArrayLike], share: ArrayLike
) -> Figure:
    """Plots the perplexity of tokens against the frequency of their types in the training text, and each bin's
    share.

    `least [b]`: the smallest count of each bin (a decade wide; 0 for types that don't occur);
    `cross_entropy [b]`: nats, of one model, or of several by name; `share [b]` in 0 … 1.
    """
    counts = checked("counts", np.asarray(least, np.float64), "[b]")
    losses = named("cross entropies", cross_entropy, counts.shape, "perplexity")
    shares = demand_shape("shares", share, counts.shape)
    places, styles = np.arange(len(counts)), styles_of(losses)
    # Up to six digits fit side by side.
    between = ["–" if count < 1000 else "–\n" for count in counts]
    names = [
        "0" if count == 0 else f"{count:,.0f}{dash}{10 * count - 1:,.0f}"
        for count, dash in zip(counts, between, strict=True)
    ]
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(0.75 * PAGE, 2.3), layout="constrained")
        ax = figure.subplots()
        ax.set(
            xlabel="times that the token's type stands in the training text",
            ylabel="perplexity",
            yscale="log",
        )
        ax.set_xticks(places, names)
        other = ax.twinx()
        other.bar(places, shares, width=0.6, color="#d9d9d9")
        other.set(ylabel="share of the tokens", ylim=(0, max(1.05 * shares.max(), 0.05)))
        other.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))  # whole per cents
        other.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        other.grid(visible=False)
        other.spines["right"].set_visible(True)
        ax.set_zorder(other.get_zorder() + 1)
        ax.patch.set_visible(False)
        handles: list[Artist] = []
        for name, values in losses.items():
            handles += ax.plot(places, perplexities(values), marker="o", label=name, **styles[name])
        every = np.concatenate([values[values < LARGEST] for values in losses.values()])
        ax.set_ylim(*(10 ** decades(every / np.log(10))).tolist())
        plain_log(ax)
        add_legend(figure, [*handles, Patch(color="#d9d9d9", lw=0, label="share of the tokens")])
    return figure


def named(
    what: str, values: ArrayLike | Mapping[str, ArrayLike], shape: tuple[int, ...], alone: str
) -> dict[str, Numbers]:
    """Returns columns by name; a single array gets the name `alone`."""
    given = values if isinstance(values, Mapping) else {alone: values}
    demand_names(given, what)
    return {name: demand_shape(what, column, shape) for name, column in given.items()}


def plain_log(ax: Axes) -> None:
    """Labels the ticks of a logarithmic y axis with plain numbers, for any range."""
    low, high = ax.get_ylim()
    if high / low > 8:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
    elif high / low > 3:
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    else:
        ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if 100 <= value < 1e7 else f"{value:.4g}")
    )
    ax.yaxis.set_minor_formatter(NullFormatter())
