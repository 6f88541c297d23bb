"""Spectrograms, what a net writes beside them, and segments in a plane.

Axes: T frames, F filters, S steps of the net, K classes, N segments.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps, style
from numpy.typing import ArrayLike

from analysis.figures.style import COLOURS, GREY, PAGE, SETTINGS, Figure, checked, demand_shape

SHADES = colormaps["tab10"]
NAMED = 0.3  # probability from which a label is named in the figure


class Heard(NamedTuple):
    """An utterance: log-mel frames `[T, F]`, the probability of each class at each step `[S, K]`, those of blank
    first, and the names of the others."""

    frames: ArrayLike
    probabilities: ArrayLike
    labels: Sequence[str]
    title: str = ""


class Attended(NamedTuple):
    """An utterance: log-mel frames `[T, F]`, the weights `[N, S]` with which each of N written labels attends to
    the steps, and the labels."""

    frames: ArrayLike
    weights: ArrayLike
    labels: Sequence[str]
    title: str = ""


class Rebuilt(NamedTuple):
    """A segment: its log-mel frames `[T, F]`, and those written again from its vector."""

    frames: ArrayLike
    written: ArrayLike
    title: str = ""


def pairs_figure(rebuilt: Sequence[Rebuilt], hop: float) -> Figure:
    """Draws for each segment its spectrogram, and beside it the one written again, in the same shades. Frames are
    `hop` seconds apart.

    Raises ValueError for no segment, and spectrograms of two sizes."""
    if not rebuilt:
        raise ValueError("no segment to draw: the list is empty")
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 1.15 * len(rebuilt) + 0.5), layout="constrained")
        axes = figure.subplots(len(rebuilt), 2, squeeze=False, sharey=True)
        for one, (left, right) in zip(rebuilt, axes, strict=True):
            frames = checked(f"frames of {one.title!r}", np.asarray(one.frames, np.float64), "[T, F]")
            written = demand_shape(f"frames written of {one.title!r}", one.written, frames.shape)
            extent = (0.0, len(frames) * hop, 0.0, float(frames.shape[1]))
            shades = {"cmap": "Greys", "vmin": frames.min(), "vmax": frames.max()}
            for ax, values in ((left, frames), (right, written)):
                ax.imshow(values.T, origin="lower", aspect="auto", extent=extent, **shades)
                ax.grid(visible=False)
            left.set(ylabel=f"{one.title}\nmel filter")
        axes[0, 0].set(title="heard")
        axes[0, 1].set(title="written again from one vector")
        for ax in axes[-1]:
            ax.set(xlabel="seconds")
    return figure


def segment_map(places: ArrayLike, names: Sequence[str]) -> Figure:
    """Draws what segments say at their places `[N, 2]`, in a colour by how it ends.

    Raises ValueError for places that aren't those of the segments."""
    points = demand_shape("places of segments", places, (len(names), 2))
    checked("places of segments", points, "[N, 2]")
    ends = sorted({name[-1:] for name in names})
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 0.8 * PAGE), layout="constrained")
        ax = figure.subplots()
        ax.scatter(points[:, 0], points[:, 1], s=0)  # sets the limits
        for name, (x, y) in zip(names, points.tolist(), strict=True):
            colour = SHADES(ends.index(name[-1:]) % SHADES.N)
            ax.text(x, y, name, fontsize=6, color=colour, ha="center", va="center")
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    return figure


def attention_figure(attended: Sequence[Attended], hop: float) -> Figure:
    """Draws for each utterance its spectrogram, and below it, row by row, to which times each label attends, dark
    for the largest weight of the row. Frames are `hop` seconds apart.

    Raises ValueError for no utterance, or weights that don't fit the labels."""
    if not attended:
        raise ValueError("no utterance to draw: the list is empty")
    with style.context(SETTINGS, after_reset=True):
        heights = [size for one in attended for size in (0.9, 0.35 + 0.16 * len(one.labels))]
        figure = Figure(figsize=(PAGE, sum(heights) + 0.4), layout="constrained")
        axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        for one, above, below in zip(attended, axes[::2], axes[1::2], strict=True):
            frames = checked(f"frames of {one.title!r}", np.asarray(one.frames, np.float64), "[T, F]")
            steps = np.asarray(one.weights).shape[-1]
            weights = demand_shape(f"weights of {one.title!r}", one.weights, (len(one.labels), steps))
            seconds, rows = len(frames) * hop, len(one.labels)
            extent = (0.0, seconds, 0.0, float(frames.shape[1]))
            above.imshow(frames.T, origin="lower", aspect="auto", cmap="Greys", extent=extent)
            above.set(title=one.title, ylabel="mel filter", xticklabels=[])
            shares = weights / np.maximum(weights.max(axis=1, keepdims=True, initial=0), 1e-12)
            extent = (0.0, seconds, rows - 0.5, -0.5)
            below.imshow(shares, aspect="auto", cmap="Greys", extent=extent, interpolation="nearest")
            below.set_yticks(range(rows), list(one.labels))
            above.grid(visible=False)
            below.grid(visible=False)
        axes[-1].set_xlabel("seconds")
    return figure


def ctc_figure(heard: Sequence[Heard], hop: float) -> Figure:
    """Draws for each utterance its spectrogram, and below it the probability of blank (grey) and of each label
    against time; a label is named where it is likeliest. Frames are `hop` seconds apart.

    Raises ValueError for no utterance, or probabilities that don't fit the labels."""
    if not heard:
        raise ValueError("no utterance to draw: the list is empty")
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.5 * len(heard)), layout="constrained")
        axes = figure.subplots(2 * len(heard), 1, squeeze=False)[:, 0]
        for one, above, below in zip(heard, axes[::2], axes[1::2], strict=True):
            frames = checked(f"frames of {one.title!r}", np.asarray(one.frames, np.float64), "[T, F]")
            steps = len(np.asarray(one.probabilities))
            p = demand_shape(
                f"probabilities of {one.title!r}", one.probabilities, (steps, len(one.labels) + 1)
            )
            seconds = len(frames) * hop
            extent = (0.0, seconds, 0.0, float(frames.shape[1]))
            above.imshow(frames.T, origin="lower", aspect="auto", cmap="Greys", extent=extent)
            above.set(title=one.title, ylabel="mel filter", xticklabels=[])
            above.grid(visible=False)
            time = (np.arange(steps) + 0.5) * seconds / steps
            below.plot(time, p[:, 0], color=GREY, linewidth=0.8, linestyle=(0, (2, 1.5)))
            for number, name in enumerate(one.labels, 1):
                if p[:, number].max() < NAMED:
                    continue
                colour = COLOURS[number % len(COLOURS)]
                below.plot(time, p[:, number], color=colour, linewidth=1.0)
                for place in peaks(p[:, number]):
                    below.text(time[place], 1.05, "␣" if name == " " else name, color=colour, ha="center")
            below.set(xlim=(0, seconds), ylim=(0, 1.25), ylabel="probability")
        axes[-1].set_xlabel("seconds (dashed: blank)")
    return figure


def peaks(p: np.ndarray) -> list[int]:
    """Returns the highest place of each stretch above the probability from which a label is named."""
    above = np.concatenate([[False], p >= NAMED, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1]).reshape(-1, 2)
    return [int(start + np.argmax(p[start:end])) for start, end in edges]
