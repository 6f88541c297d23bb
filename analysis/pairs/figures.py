"""Images with what a decoder attends to while it describes them. Axes: S pixels of a side, n named things."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import style
from numpy.typing import ArrayLike

from analysis.figures.style import PAGE, SETTINGS, Figure, checked, demand_shape


class Described(NamedTuple):
    """An image `[S, S]`, dark where it is large, the n things named in its description, and the weights of its
    pixels while each is named, `[n, S, S]`."""

    image: ArrayLike
    names: Sequence[str]
    weights: ArrayLike


def described_figure(described: Sequence[Described]) -> Figure:
    """Draws each image in a row, and beside it, name by name, the weights in red over it, up to the largest.

    Raises ValueError for no image, or weights that don't fit it."""
    if not described:
        raise ValueError("no image to draw: the list is empty")
    columns = 1 + max(len(one.names) for one in described)
    size = PAGE / max(columns, 4)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(size * columns, (size + 0.12) * len(described)), layout="compressed")
        figure.get_layout_engine().set(h_pad=0.07)  # type: ignore[union-attr, call-arg]
        axes = figure.subplots(len(described), columns, squeeze=False)
        for ax in axes.ravel():
            ax.set_axis_off()
        for row, one in zip(axes, described, strict=True):
            image = checked("the image", np.asarray(one.image, np.float64), "[S, S]")
            weights = demand_shape("weights", one.weights, (len(one.names), *image.shape))
            row[0].imshow(image, cmap="Greys")
            for ax, name, map_ in zip(row[1:], one.names, weights, strict=False):
                ax.imshow(image, cmap="Greys")
                shares = map_ / max(float(map_.max()), 1e-12)
                ax.imshow(np.ones_like(shares), cmap="autumn", vmin=1, alpha=0.65 * shares)
                ax.set_title(name, pad=2)
    return figure
