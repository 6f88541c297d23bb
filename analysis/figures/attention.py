"""Score maps: a panel for each head of each layer, or for each of several sentences; what a machine does with its
memory, step by step."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.figures.style import COLOURS, PAGE, SETTINGS, Figure, checked, demand_names, wrapped

LABELLED = 40  # steps up to which each is labelled
LETTERS = {"\n": "⏎", " ": "␣", "\t": "⇥", "$": r"\$"}


def attention_figure(maps: Mapping[str, ArrayLike], queries: Sequence[str], keys: Sequence[str]) -> Figure:
    """Draws the weights α_ts of each layer, `[heads, T, S]`, as images, dark where step t attends to place s.

    `queries` labels the T rows, `keys` the S columns. The scale of a panel ends at its largest weight after the
    first row, which in self-attention sees itself alone; its title gives that weight."""
    demand_names(maps, "attention")
    arrays = {
        name: checked(f"weights of {name!r}", np.asarray(weights, np.float64), "[heads, T, S]")
        for name, weights in maps.items()
    }
    columns = max(map(len, arrays.values()))
    size = PAGE / max(columns, 2)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(size * columns, (size + 0.1) * len(arrays)), layout="compressed")
        grid = figure.add_gridspec(len(arrays), columns)
        for row, (name, weights) in enumerate(arrays.items()):
            last = row == len(arrays) - 1
            for head, image in enumerate(weights):
                ax = figure.add_subplot(grid[row, head])
                top = float(image[1:].max(initial=0)) or 1.0
                ax.imshow(image, cmap="Greys", vmin=0, vmax=top, interpolation="nearest", aspect="equal")
                ax.set_title(f"head {head + 1}, up to {top:.2f}")
                ax.grid(visible=False)
                label(ax.set_yticks, queries if head == 0 else [])
                label(ax.set_xticks, keys if last else [], rotation=0 if max(map(len, keys)) < 2 else 90)
                if head == 0:
                    ax.set_ylabel(f"{wrapped(name, 24)}: reads at")
                if last:
                    ax.set_xlabel("attends to")
    return figure


class Alignment(NamedTuple):
    """A sentence's weights `[T, L]`, rows the T tokens of the target, columns the L of the source."""

    weights: ArrayLike
    targets: Sequence[str]
    sources: Sequence[str]
    title: str = ""


def alignments_figure(alignments: Sequence[Alignment], columns: int = 3) -> Figure:
    """Draws one image a sentence, dark where a target token attends to a source token; the scale is 0 … 1.

    Raises ValueError for no sentence, or weights that don't fit the tokens."""
    if not alignments:
        raise ValueError("no alignments to draw: the list is empty")
    arrays = [
        checked(f"weights of {found.title!r}", np.asarray(found.weights, np.float64), "[T, L]")
        for found in alignments
    ]
    for found, weights in zip(alignments, arrays, strict=True):
        if weights.shape != (len(found.targets), len(found.sources)):
            raise ValueError(
                f"weights of {found.title!r} have shape {list(weights.shape)}; expected "
                f"[{len(found.targets)}, {len(found.sources)}], the target tokens by the source tokens"
            )
    columns = min(columns, len(alignments))
    rows = math.ceil(len(alignments) / columns)
    tallest = [
        max(len(weights) / weights.shape[1] for weights in arrays[row * columns : (row + 1) * columns])
        for row in range(rows)
    ]
    with style.context(SETTINGS, after_reset=True):
        # A row is as high as its tallest image, and the labels of the source above it.
        width = PAGE / columns
        heights = [0.75 * width * min(ratio, 2) + 0.65 for ratio in tallest]
        figure = Figure(figsize=(PAGE, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(rows, columns, height_ratios=heights)
        for i, (found, weights) in enumerate(zip(alignments, arrays, strict=True)):
            ax = figure.add_subplot(grid[divmod(i, columns)])
            ax.imshow(weights, cmap="Greys", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
            ax.set_title(wrapped(found.title, 40))
            ax.grid(visible=False)
            ax.tick_params(length=0)
            label(ax.set_yticks, found.targets)
            label(ax.set_xticks, found.sources, rotation=90)
    return figure


class Strip(NamedTuple):
    """Values of K rows over T steps, `[T, K]`, drawn dark for large ones; NaN is drawn as nothing. `low` and `high`
    end the scale, by default the least and the largest value; one that is negative gets colours around zero."""

    values: ArrayLike
    title: str
    low: float | None = None
    high: float | None = None


def strips_figure(
    strips: Sequence[Strip],
    *,
    x_label: str = "step",
    x_ticks: Sequence[str] | None = None,
    row_height: float = 0.035,
) -> Figure:
    """Draws images below one another, steps from left to right on one axis, as Graves, Wayne & Danihelka (2014) do
    inputs, heads and memory. `x_ticks` are words below some of the steps, empty below the others.

    Raises ValueError for no strip, or strips of several lengths."""
    if not strips:
        raise ValueError("nothing to draw step by step: the list is empty")
    arrays = [checked(f"values of {s.title!r}", np.asarray(s.values, np.float64), "[T, K]") for s in strips]
    if len({len(values) for values in arrays}) > 1:
        lengths = ", ".join(f"{s.title} {len(v)}" for s, v in zip(strips, arrays, strict=True))
        raise ValueError(f"strips have several numbers of steps: {lengths}")
    heights = [min(max(0.22, row_height * values.shape[1]), 1.6) for values in arrays]
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, sum(heights) + 0.24 * len(strips) + 0.3), layout="constrained")
        axes = figure.subplots(len(strips), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for ax, strip, values in zip(axes, strips, arrays, strict=True):
            low = float(np.nanmin(values)) if strip.low is None else strip.low
            high = float(np.nanmax(values)) if strip.high is None else strip.high
            around = max(abs(low), abs(high))
            limits = {"vmin": -around, "vmax": around} if low < 0 else {"vmin": low, "vmax": high}
            ax.imshow(
                values.T,
                aspect="auto",
                interpolation="nearest",
                cmap="RdBu_r" if low < 0 else "Greys",
                **limits,
            )
            ax.set_title(strip.title, loc="left", pad=2)
            ax.grid(visible=False)
            ax.set_yticks([])
            ax.tick_params(length=0)
        axes[-1].set_xlabel(x_label)
        if x_ticks is None:
            axes[-1].xaxis.set_major_locator(MaxNLocator(10, integer=True))
        else:
            axes[-1].set_xticks(
                [i for i, word in enumerate(x_ticks) if word], [word for word in x_ticks if word]
            )
    return figure


class ReadImage(NamedTuple):
    """An image `[T, D]` that was read row by row; the share of each row in what is `held` at the end, `[T]`; and by
    name the weights of heads while it was read, `[T, heads, N]`."""

    rows: ArrayLike
    held: ArrayLike
    heads: Mapping[str, ArrayLike]
    title: str = ""


def read_images_figure(images: Sequence[ReadImage]) -> Figure:
    """Draws a row of panels for each image: the image, its rows tinted by their share, and beside it, row by row,
    the weights of each head over the places of the memory, 0 … 1.

    Raises ValueError for no image, and for weights of other numbers of rows."""
    if not images:
        raise ValueError("no images to draw: the list is empty")
    panels = [
        [
            (f"{kind}, head {h + 1}" if np.shape(w)[1] > 1 else kind, np.asarray(w)[:, h])
            for kind, w in image.heads.items()
            for h in range(np.shape(w)[1])
        ]
        for image in images
    ]
    with style.context(SETTINGS, after_reset=True):
        columns = 1 + max(map(len, panels))
        size = PAGE / max(columns, 5)
        figure = Figure(figsize=(size * columns, 1.05 * size * len(images) + 0.3), layout="constrained")
        axes = figure.subplots(len(images), columns, squeeze=False)
        for i, (image, own) in enumerate(zip(images, panels, strict=True)):
            rows = checked(f"rows of {image.title!r}", np.asarray(image.rows, np.float64), "[T, D]")
            held = checked(f"shares of {image.title!r}", np.asarray(image.held, np.float64), "[T]")
            if any(len(values) != len(rows) for values in (held, *(weights for _, weights in own))):
                raise ValueError(f"{image.title!r} has {len(rows)} rows; give shares and weights for each")
            first = axes[i, 0]
            first.imshow(rows, cmap="Greys", vmin=0, interpolation="nearest", aspect="auto")
            tint = np.zeros((len(rows), 1, 4))
            tint[..., :3] = to_rgb(COLOURS[1])
            tint[..., 3] = 0.6 * (held / max(held.max(), 1e-30))[:, None]
            first.imshow(
                tint,
                extent=(-0.5, rows.shape[1] - 0.5, len(rows) - 0.5, -0.5),
                interpolation="nearest",
                aspect="auto",
            )
            first.set_title(image.title)
            first.set_ylabel("row read" if i == len(images) - 1 else "")
            for ax, (name, weights) in zip(axes[i, 1:], own, strict=False):
                ax.imshow(weights, cmap="Greys", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
                ax.set_title(name if i == 0 else "")
                ax.set_xlabel("place in the memory" if i == len(images) - 1 else "")
            for ax in axes[i]:
                ax.grid(visible=False)
                ax.tick_params(length=0)
                ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
                ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def label(set_ticks: Callable[..., Any], words: Sequence[str], **options: Any) -> None:
    """Labels every step of an axis, or none if there are too many."""
    shown = ["".join(LETTERS.get(letter, letter) for letter in word) for word in words]
    if len(shown) > LABELLED:
        shown = []
    set_ticks(range(len(shown)), shown, fontsize=4 if len(shown) > 20 else 5.5, **options)
