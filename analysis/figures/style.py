"""The style of all figures, and their shared parts: axes, legends, lines with gaps, files.

Arrays in, matplotlib figures out; only the quantiles that are drawn are computed. Axes of the arrays: `T` time, `S`
the whole state flattened, `K` lags, `N` examples, `n` logged points.

Functions take a mapping from names to arrays and give the i-th name the i-th colour and dash pattern: mappings in
the same order give a name the same colour in every figure. The colours are those of Okabe & Ito, distinguishable
with colour blindness; the dashes distinguish lines in grey. Values that an axis can't show (NaN, infinity, zero
on a log axis) are gaps in the line. Nothing here needs pyplot or a display,
and a figure shows itself as the last expression of a notebook's cell.
"""

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from analysis.figures.fonts import FAMILIES, glyphs_missing, lay_out, letters

Numbers = NDArray[np.float64]
Values = TypeVar("Values", bound=NDArray[Any])

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
ON_OFF = ((5, 1.5), (5, 1.5, 1, 1.5), (10, 2), (5, 1.5, 1, 1.5, 1, 1.5), (2.5, 1.2), (1, 1), (10, 2, 2.5, 2))
# Lengths in line widths, from offset 0.
DASHES: tuple[Any, ...] = ("-", *((0, lengths) for lengths in ON_OFF))
GREY = "#4d4d4d"
DOTS, SHOWN = 200, 144  # dots per inch of files, and in notebooks
PAGE, COLUMN = 6.75, 3.35  # inches: widths of a printed page and of one of its two columns
STEPS = [1, 2, 5, 10]  # ticks are these apart, times a power of ten
REST = "theory: at rest, untrained"
WIDE = r"\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff01-\uff5e"  # Chinese, Japanese and Korean
# What a line break may follow: a wide character with the punctuation after it, or a word.
PIECE = re.compile(rf"[{WIDE}][，、。：；！？）」』】]*|\(?[^ /:,(={WIDE}]*[ /:,=]?")
HUGE = 1e300  # stands for infinity while quantiles are interpolated, where inf − inf would be NaN
SETTINGS = {
    "font.family": FAMILIES,  # the first comes with matplotlib: the same figure on every machine
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "lines.linewidth": 1.3,
    "lines.markersize": 2.5,
    "pdf.fonttype": 42,  # TrueType: text stays text in the PDF
}


class Figure(MatplotlibFigure):
    """A matplotlib figure that notebooks display without pyplot and without a `%matplotlib` line."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Draws the picture, and says how large it is shown: 96 dots per inch."""
        picture = io.BytesIO()
        with style.context(SETTINGS, after_reset=True):
            settle(self)
            with glyphs_missing():
                self.savefig(picture, format="png", dpi=SHOWN)
        width, height = (round(96 * inches) for inches in self.get_size_inches())
        return picture.getvalue(), {"width": width, "height": height}


def demand_names(mapping: Mapping[str, object], what: str) -> None:
    """Raises ValueError for an empty mapping."""
    if not mapping:
        raise ValueError(f"no {what} to draw: the mapping is empty")


def checked(what: str, values: Values, *shapes: str) -> Values:
    """Returns the values. Raises ValueError if they are empty, or their axes are not those of one of the shapes."""
    if values.ndim not in [shape.count(",") + 1 for shape in shapes]:
        raise ValueError(f"{what} have shape {list(values.shape)}; expected {' or '.join(shapes)}")
    if values.size == 0:
        raise ValueError(f"{what} have shape {list(values.shape)}: there is nothing to draw")
    return values


def demand_shape(what: str, values: ArrayLike, shape: tuple[int, ...]) -> Numbers:
    """Returns the values as an array. Raises ValueError unless they have that shape."""
    array = np.asarray(values, np.float64)
    if array.shape != shape:
        raise ValueError(f"{what} have shape {list(array.shape)}; expected {list(shape)}")
    return array


def logged_column(name: str, curve: Mapping[str, ArrayLike], key: str) -> Numbers:
    """Returns one column of a logged curve, `[n]`. Raises ValueError if it is missing."""
    if key not in curve:
        raise ValueError(f"curve {name!r} has {sorted(curve)}; expected 'step' and 'value'")
    return checked(f"{key}s of curve {name!r}", np.asarray(curve[key], np.float64), "[n]")


def quantiles(values: Numbers, fractions: list[float], axis: int) -> Numbers:
    """Computes quantiles along an axis, which are first in the result; ±inf and NaN propagate."""
    quantiles = np.quantile(np.clip(values, -HUGE, HUGE), fractions, axis=axis)
    return np.where(np.abs(quantiles) > HUGE / 1e10, np.copysign(np.inf, quantiles), quantiles)


def quartiles(what: str, norms: ArrayLike) -> Numbers:
    """Computes lower quartile, median, upper quartile, `[3, K]`, of `[K]` or `[K, N]`."""
    values = checked(what, np.asarray(norms, np.float64), "[K]", "[K, N]")
    return quantiles(values.reshape(len(values), -1), [0.25, 0.5, 0.75], axis=1)


def spectrum_rows(name: str, logs: ArrayLike) -> Numbers:
    """Computes smallest, lower quartile, median, upper quartile, largest, `[5, K]`, of `[K, S]` or `[N, K, S]`."""
    values = checked(f"log singular values of {name!r}", np.asarray(logs, np.float64), "[K, S]", "[N, K, S]")
    rows = quantiles(values, [0.0, 0.25, 0.5, 0.75, 1.0], axis=-1)
    return rows if values.ndim == 2 else quantiles(rows, [0.5], axis=1)[0]


def decades(logs: Numbers) -> Numbers:
    """Returns the limits of an axis for these decimal logarithms: with a margin, and at least one decade."""
    finite = logs[np.isfinite(logs)]
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 0.0)
    if high - low < 1:
        low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    margin = 0.04 * (high - low)
    return np.array([low - margin, high + margin])


def styles_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns colour and dashes of each name, by its position; after eight, the colours repeat with other
    dashes."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return {
        name: {"color": COLOURS[i % 8], "linestyle": DASHES[(i + i // 8) % 8]} for name, i in places.items()
    }


def entries(styles: Mapping[str, dict[str, Any]]) -> list[Artist]:
    """Returns a legend entry for every name."""
    return [Line2D([], [], label=name, **appearance) for name, appearance in styles.items()]


def draw_band(
    ax: Axes, x: NDArray[Any], low: Numbers, high: Numbers, colour: str, alpha: float = 0.25
) -> None:
    """Draws a band within the limits of the panel; one that extends to zero ends at the lower limit."""
    bottom, top = ax.get_ylim()
    high = np.where(high < bottom, np.nan, np.minimum(high, top))
    if np.any(low < high):
        ax.fill_between(x, np.clip(low, bottom, top), high, color=colour, alpha=alpha, linewidth=0)


def draw_line(ax: Axes, x: NDArray[Any], y: Numbers, *, label: str, **appearance: Any) -> None:
    """Draws a line with gaps where y isn't finite; a point between two gaps gets a dot, to be visible."""
    shown = np.isfinite(y)
    beside = np.convolve(shown, [1, 0, 1])[1:-1] > 0
    alone = np.flatnonzero(shown & ~beside).tolist()
    ax.plot(x, np.where(shown, y, np.nan), label=label, marker="o", markevery=alone, **appearance)


def count_along(ax: Axes, first: float | int, last: float | int, ticks: int) -> None:
    """Sets an x axis of whole numbers from the first to the last, even if all lines have gaps there."""
    margin = 0.02 * (last - first) or 1.0
    ax.set_xlim(first - margin, last + margin)
    ax.xaxis.set_major_locator(MaxNLocator(ticks, steps=STEPS, integer=True))


def arrangement(count: int) -> tuple[int, int, float]:
    """Returns rows, columns and width in inches of a figure with `count` panels, at most four in a row."""
    rows = math.ceil(count / 4)
    columns = math.ceil(count / rows)
    return rows, columns, {1: COLUMN, 2: 0.75 * PAGE}.get(columns, PAGE)


def panel_grid(
    names: Mapping[str, object], row_height: float, x_label: str, y_label: str, *, shared: bool = True
) -> tuple[Figure, list[Axes]]:
    """Creates one titled panel per name, with labels at the left and bottom, with shared or separate axes."""
    rows, columns, width = arrangement(len(names))
    titles = [wrapped(name, round(12 * width / columns)) for name in names]
    breaks = [
        max(title.count("\n") for title in titles[i : i + columns]) for i in range(0, len(titles), columns)
    ]
    figure = Figure(figsize=(width, rows * row_height + 0.13 * sum(breaks)), layout="compressed")
    cells = figure.add_gridspec(rows, columns)
    axes: list[Axes] = []
    for i, title in enumerate(titles):
        left, foot = i % columns == 0, i + columns >= len(titles)
        first = axes[0] if axes and shared else None
        ax = figure.add_subplot(cells[divmod(i, columns)], sharex=first, sharey=first, title=title)
        ax.set(xlabel=x_label if foot else "", ylabel=y_label if left else "")
        ax.tick_params(labelbottom=foot or not shared, labelleft=left or not shared)
        axes.append(ax)
    return figure, axes


def wrapped(name: str, width: int) -> str:
    """Wraps a name into lines of at most `width` Latin letters, at punctuation or between Chinese characters, and
    escapes dollar signs."""
    lines = [""]
    for word in PIECE.findall(name):
        for piece in (word[i : i + width] for i in range(0, len(word), width)):
            if lines[-1] and letters(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines).replace("$", r"\$")


def rest_line(ax: Axes, lags: NDArray[Any], values: ArrayLike) -> None:
    """Draws the theory of a cell at rest over the measured lines."""
    draw_line(ax, lags, np.asarray(values, np.float64), label=REST, color="black", lw=0.8)


def rest_entry() -> Line2D:
    """Returns the legend entry for `rest_line`."""
    return Line2D([], [], color="black", lw=0.8, label=REST)


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Adds one legend above the panels, in as many columns as fit; the figure grows by its height."""
    labels = [wrapped(str(handle.get_label()), 46) for handle in handles]  # letters that fit a column's width
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper center", ncols=columns)
        with glyphs_missing():
            extent = legend.get_window_extent()
        if extent.width <= 0.95 * figure.bbox.width or columns == 1:
            figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
            return
        legend.remove()


def settle(figure: MatplotlibFigure) -> None:
    """Places the parts of a figure once: each further drawing would move the panels a little. At the resolution of
    the file, since at a lower one letters are narrower, and would be cut."""
    figure.set_dpi(DOTS)
    lay_out(figure)
    figure.set_layout_engine("none")


def save(figure: MatplotlibFigure, folder: Path | str, name: str) -> list[Path]:
    """Writes `name.png` (200 dots per inch) and `name.pdf` into the folder, with the same bytes every time."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    png, pdf = folder / f"{name}.png", folder / f"{name}.pdf"
    with style.context(SETTINGS, after_reset=True):
        settle(figure)
        for path in (png, pdf):
            path.unlink(missing_ok=True)  # a link is replaced, not followed
        with png.open("xb") as file, glyphs_missing():
            figure.savefig(file, format="png", dpi=DOTS)
        with pdf.open("xb") as file, glyphs_missing():  # dpi: of the points of a scatter
            figure.savefig(file, format="pdf", dpi=400, metadata={"CreationDate": None})
    return [png, pdf]
