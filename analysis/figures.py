"""Arrays in, matplotlib figures out; nothing is computed here but the quantiles that are drawn.

Axes of the arrays: `T` time, `S` the whole state flattened, `K` lags, `N` examples, `n` logged points.

Every function takes a mapping from a cell's name to its array and gives the i-th name the i-th colour and
dash pattern: mappings in the same order give a cell the same colour in every figure. The colours are those
of Okabe & Ito, told apart by the colour-blind; the dashes tell lines apart in grey. What an axis can't show
(NaN, infinity, zero on a log axis) is a gap in the line. Nothing here needs pyplot or a display.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]
Values = TypeVar("Values", bound=NDArray[Any])

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
ON_OFF = ((5, 1.5), (5, 1.5, 1, 1.5), (10, 2), (5, 1.5, 1, 1.5, 1, 1.5), (2.5, 1.2), (1, 1), (10, 2, 2.5, 2))
DASHES: tuple[Any, ...] = (
    "-",
    *((0, lengths) for lengths in ON_OFF),
)  # lengths in line widths, from offset 0
GREY = "#4d4d4d"
PAGE, COLUMN = 6.75, 3.35  # inches: widths of a printed page and of one of its two columns
STEPS = [1, 2, 5, 10]  # ticks are these apart, times a power of ten
HUGE = 1e300  # stands for infinity while quantiles are interpolated, where inf − inf would be NaN
SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
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


def gradient_against_lag(before: Mapping[str, ArrayLike], after: Mapping[str, ArrayLike]) -> Figure:
    """Gradient norm ‖∂L/∂s_{T−k}‖ (s: the whole state) against the lag k, before and after training.

    Each value is `[K]` or `[K, N]` at lags k = 1 … K, as `gradient_by_lag` gives it. With examples the line is
    their median and the band lies between their quartiles.
    """
    given = {"before training": before, "after training": after}
    for title, norms in given.items():
        _demand_names(norms, f"gradient norms {title}")
    panels = {
        title: {
            name: _quartiles(f"gradient norms of {name!r} {title}", value) for name, value in norms.items()
        }
        for title, norms in given.items()
    }
    rows = [quartiles for panel in panels.values() for quartiles in panel.values()]
    limits = np.clip(
        _decades(np.log10(np.concatenate([row[row > 0] for row in rows]))), -323, 308
    )  # of a float64
    powers = MaxNLocator(6, steps=STEPS, integer=True).tick_values(*limits)
    styles = _styles([*before, *after])
    handles = _handles(styles)
    if any(np.ndim(value) == 2 for norms in given.values() for value in norms.values()):
        handles.append(Patch(color=GREY, alpha=0.3, lw=0, label="quartiles over examples"))
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set(yscale="log", ylabel=r"gradient norm $\|\partial L\,/\,\partial s_{T-k}\|$")
        axes[0].set_yticks([10.0**power for power in powers if limits[0] <= power <= limits[1]])
        axes[0].set_ylim(*10.0**limits)
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            for name, (low, middle, high) in panel.items():
                lags = np.arange(1, middle.size + 1)
                _band(ax, lags, low, high, styles[name]["color"])
                _line(ax, lags, np.where(middle > 0, middle, np.nan), label=name, **styles[name])
            ax.set(title=title, xlabel="lag $k$ (steps back from the loss)")
        _count_along(axes[0], 1, max(row.shape[1] for row in rows), ticks=7)
        _legend(figure, handles)
    return figure


def singular_values_against_lag(spectra: Mapping[str, ArrayLike]) -> Figure:
    """Singular values of the products J_T … J_{T−k+1} against the lag k, one panel a cell.

    Each value is `[K, S]` or `[N, K, S]`: natural logarithms at lags k = 1 … K (−inf for a zero). Drawn are
    the largest, the median, and bands between the quartiles and from smallest to largest; with examples,
    the median over them of each of the five. The axis carries log10 σ under ticks that read 10ⁿ, since σ
    itself (0.5 to the 5,000th) may lie outside floating point.
    """
    _demand_names(spectra, "singular values")
    panels = {name: _spectrum_rows(name, logs) / math.log(10) for name, logs in spectra.items()}
    limits = _decades(np.concatenate([rows.ravel() for rows in panels.values()]))
    styles = _styles(spectra)
    with style.context(SETTINGS, after_reset=True):
        figure, axes = _grid(spectra, 2.0, "lag $k$ (steps)", r"singular value of $J_T \cdots J_{T-k+1}$")
        axes[0].set_ylim(*limits)
        axes[0].yaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
        axes[0].yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
        for ax, (name, (low, lower, middle, upper, high)) in zip(axes, panels.items(), strict=True):
            colour, lags = styles[name]["color"], np.arange(1, middle.size + 1)
            _band(ax, lags, low, high, colour, alpha=0.15)
            _band(ax, lags, lower, upper, colour, alpha=0.3)
            _line(ax, lags, high, label="largest", color=colour)
            _line(ax, lags, middle, label="median", color=colour, linestyle="--")
        _count_along(axes[0], 1, max(rows.shape[1] for rows in panels.values()), ticks=4)
        lines = [
            Line2D([], [], color=GREY, label="largest"),
            Line2D([], [], color=GREY, ls="--", label="median"),
        ]
        shades = {"quartiles": 0.45, "smallest to largest": 0.15}
        bands = [Patch(color=GREY, alpha=alpha, lw=0, label=label) for label, alpha in shades.items()]
        _legend(figure, [*lines, *bands])
    return figure


def eigenvalues_in_plane(eigenvalues: Mapping[str, ArrayLike]) -> Figure:
    """Eigenvalues of step Jacobians in the complex plane with the unit circle, one panel a cell.

    Each value is complex `[T, S]`, coloured by the time step 1 … T, or `[S]`, in the cell's colour. Points
    that aren't finite are left out.
    """
    _demand_names(eigenvalues, "eigenvalues")
    panels = {
        name: _checked(f"eigenvalues of {name!r}", np.asarray(value, np.complex128), "[S]", "[T, S]")
        for name, value in eigenvalues.items()
    }
    parts = np.concatenate(
        [values.ravel().view(np.float64) for values in panels.values()]
    )  # real and imaginary
    reach = 1.15 * np.max(np.abs(parts[np.isfinite(parts)]), initial=1.0)
    steps = max((len(values) for values in panels.values() if values.ndim == 2), default=0)
    styles = _styles(eigenvalues)
    with style.context(SETTINGS, after_reset=True):
        _, columns, width = _arrangement(len(panels))
        figure, axes = _grid(panels, (width - 1) / columns + 0.5, "real part, Re λ", "imaginary part, Im λ")
        time = ScalarMappable(Normalize(1, max(steps, 2)), cmap="viridis")
        for ax, (name, values) in zip(axes, panels.items(), strict=True):
            finite = np.isfinite(values)
            colours: Any = styles[name]["color"]
            if values.ndim == 2:
                colours = time.to_rgba(1 + np.nonzero(finite)[0])
            points = values[finite]
            ax.scatter(points.real, points.imag, s=6, c=colours, alpha=0.7, linewidths=0, rasterized=True)
            ax.add_patch(Circle((0, 0), 1, fill=False, color=GREY, lw=0.8))
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            ax.locator_params(nbins=5, steps=STEPS)
        if steps:
            bar = figure.colorbar(time, ax=axes, label="time (step)", aspect=25, pad=0.02)
            bar.locator = MaxNLocator(5, steps=STEPS, integer=True)
        _legend(figure, [Line2D([], [], color=GREY, lw=0.8, label="unit circle, |λ| = 1")])
    return figure


def training_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    y_label: str,
    baseline: float | None = None,
    baseline_label: str = "trivial baseline",
) -> Figure:
    """A quantity against the training step, one line a name, on a linear axis (an accuracy, say).

    Each value is `{"step": [n], "value": [n]}`; `y_label` names the quantity and its unit. What the trivial
    answer reaches, `baseline`, is a thin dashed line across.
    """
    _demand_names(curves, "training curves")
    logged = {
        name: (_logged(name, curve, "step"), _logged(name, curve, "value")) for name, curve in curves.items()
    }
    for name, (steps, values) in logged.items():
        if steps.size != values.size:
            raise ValueError(f"curve {name!r} has {steps.size} steps and {values.size} values; give as many")
    every = np.concatenate([steps for steps, _ in logged.values()])
    styles = _styles(curves)
    handles = _handles(styles)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.2), layout="constrained")
        ax = figure.subplots()
        ax.set(xlabel="training step", ylabel=y_label)
        for name, (steps, values) in logged.items():
            _line(ax, steps, values, label=name, **styles[name])
        if baseline is not None:
            handles.append(ax.axhline(baseline, color=GREY, lw=0.9, ls="--", label=baseline_label))
        _count_along(ax, every.min(), every.max(), ticks=5)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        _legend(figure, handles)
    return figure


def loss_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    y_label: str,
    baseline: float | None = None,
    baseline_label: str = "trivial baseline",
) -> Figure:
    """`training_curves` on a logarithmic axis."""
    values = {name: _logged(name, curve, "value") for name, curve in curves.items()}
    positive = {
        name: {**curve, "value": np.where(values[name] > 0, values[name], np.nan)}
        for name, curve in curves.items()
    }
    figure = training_curves(positive, y_label=y_label, baseline=baseline, baseline_label=baseline_label)
    with style.context(SETTINGS, after_reset=True):
        figure.axes[0].set_yscale("log")
    return figure


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name.png` (200 dots per inch) and `name.pdf` into the folder, the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    png, pdf = folder / f"{name}.png", folder / f"{name}.pdf"
    with style.context(SETTINGS, after_reset=True):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: each further drawing would move the panels a little
        figure.savefig(png, dpi=200)
        figure.savefig(pdf, dpi=400, metadata={"CreationDate": None})  # dpi: of the points of a scatter
    return [png, pdf]


def _demand_names(mapping: Mapping[str, object], what: str) -> None:
    if not mapping:
        raise ValueError(f"no {what} to draw: the mapping is empty")


def _checked(what: str, values: Values, *shapes: str) -> Values:
    """The values, if they have as many axes as one of the shapes and are not empty."""
    if values.ndim not in [shape.count(",") + 1 for shape in shapes]:
        raise ValueError(f"{what} have shape {list(values.shape)}; expected {' or '.join(shapes)}")
    if values.size == 0:
        raise ValueError(f"{what} have shape {list(values.shape)}: there is nothing to draw")
    return values


def _logged(name: str, curve: Mapping[str, ArrayLike], key: str) -> Numbers:
    if key not in curve:
        raise ValueError(f"curve {name!r} has {sorted(curve)}; expected 'step' and 'value'")
    return _checked(f"{key}s of curve {name!r}", np.asarray(curve[key], np.float64), "[n]")


def _quantiles(values: Numbers, fractions: list[float], axis: int) -> Numbers:
    """Quantiles along an axis, first in the result. One that leans on ±inf is ±inf, one on NaN is NaN."""
    quantiles = np.quantile(np.clip(values, -HUGE, HUGE), fractions, axis=axis)
    return np.where(np.abs(quantiles) > HUGE / 1e10, np.copysign(np.inf, quantiles), quantiles)


def _quartiles(what: str, norms: ArrayLike) -> Numbers:
    """`[K]` or `[K, N]` -> lower quartile, median, upper quartile, `[3, K]`."""
    values = _checked(what, np.asarray(norms, np.float64), "[K]", "[K, N]")
    return _quantiles(values.reshape(len(values), -1), [0.25, 0.5, 0.75], axis=1)


def _spectrum_rows(name: str, logs: ArrayLike) -> Numbers:
    """`[K, S]` or `[N, K, S]` -> smallest, lower quartile, median, upper quartile, largest, `[5, K]`."""
    values = _checked(f"log singular values of {name!r}", np.asarray(logs, np.float64), "[K, S]", "[N, K, S]")
    rows = _quantiles(values, [0.0, 0.25, 0.5, 0.75, 1.0], axis=-1)
    return rows if values.ndim == 2 else _quantiles(rows, [0.5], axis=1)[0]


def _decades(logs: Numbers) -> Numbers:
    """Limits of an axis that shows these decimal logarithms: a margin, and one whole decade at least."""
    finite = logs[np.isfinite(logs)]
    low, high = (finite.min(), finite.max()) if finite.size else (-1.0, 0.0)
    if high - low < 1:
        low, high = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    margin = 0.04 * (high - low)
    return np.array([low - margin, high + margin])


def _styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each name, by its place; after eight, the colours meet other dashes."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return {
        name: {"color": COLOURS[i % 8], "linestyle": DASHES[(i + i // 8) % 8]} for name, i in places.items()
    }


def _handles(styles: Mapping[str, dict[str, Any]]) -> list[Artist]:
    return [Line2D([], [], label=name, **appearance) for name, appearance in styles.items()]


def _band(ax: Axes, x: NDArray[Any], low: Numbers, high: Numbers, colour: str, alpha: float = 0.25) -> None:
    """A band inside the limits the panel has; one that reaches down to zero goes on to the lower limit."""
    bottom, top = ax.get_ylim()
    high = np.where(high < bottom, np.nan, np.minimum(high, top))
    if np.any(low < high):
        ax.fill_between(x, np.clip(low, bottom, top), high, color=colour, alpha=alpha, linewidth=0)


def _line(ax: Axes, x: NDArray[Any], y: Numbers, *, label: str, **appearance: Any) -> None:
    """A line with gaps where y isn't finite; a point between two gaps gets a dot, or it would not be seen."""
    shown = np.isfinite(y)
    beside = np.convolve(shown, [1, 0, 1])[1:-1] > 0
    alone = np.flatnonzero(shown & ~beside).tolist()
    ax.plot(x, np.where(shown, y, np.nan), label=label, marker="o", markevery=alone, **appearance)


def _count_along(ax: Axes, first: float | int, last: float | int, ticks: int) -> None:
    """An x axis of whole numbers, from the first to the last also where every line has a gap."""
    margin = 0.02 * (last - first) or 1.0
    ax.set_xlim(first - margin, last + margin)
    ax.xaxis.set_major_locator(MaxNLocator(ticks, steps=STEPS, integer=True))


def _arrangement(count: int) -> tuple[int, int, float]:
    """Rows, columns and width in inches of a figure of so many panels, at most four in a row."""
    rows = math.ceil(count / 4)
    columns = math.ceil(count / rows)
    return rows, columns, {1: COLUMN, 2: 0.75 * PAGE}.get(columns, PAGE)


def _grid(
    names: Mapping[str, object], row_height: float, x_label: str, y_label: str
) -> tuple[Figure, list[Axes]]:
    """One titled panel a name, sharing axes; they are named at the left and at each column's foot."""
    rows, columns, width = _arrangement(len(names))
    titles = [_wrapped(name, round(12 * width / columns)) for name in names]
    breaks = [
        max(title.count("\n") for title in titles[i : i + columns]) for i in range(0, len(titles), columns)
    ]
    figure = Figure(figsize=(width, rows * row_height + 0.13 * sum(breaks)), layout="compressed")
    cells = figure.add_gridspec(rows, columns)
    axes: list[Axes] = []
    for i, title in enumerate(titles):
        left, foot = i % columns == 0, i + columns >= len(titles)
        shared = axes[0] if axes else None
        ax = figure.add_subplot(cells[divmod(i, columns)], sharex=shared, sharey=shared, title=title)
        ax.set(xlabel=x_label if foot else "", ylabel=y_label if left else "")
        ax.tick_params(labelbottom=foot, labelleft=left)
        axes.append(ax)
    return figure, axes


def _wrapped(name: str, width: int) -> str:
    """A name in lines of at most so many characters, broken at its marks; a dollar sign stays one."""
    lines = [""]
    for word in re.findall(r"\(?[^ /:,(]*[ /:,]?", name):
        for piece in (word[i : i + width] for i in range(0, len(word), width)):
            if lines[-1] and len(lines[-1] + piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines).replace("$", r"\$")


def _legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend above the panels, in as many columns as fit; the figure grows by its height."""
    labels = [
        _wrapped(str(handle.get_label()), 46) for handle in handles
    ]  # letters that fit a column's width
    for columns in range(len(labels), 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper center", ncols=columns)
        extent = legend.get_window_extent()
        if extent.width <= 0.95 * figure.bbox.width or columns == 1:
            figure.set_figheight(figure.get_figheight() + extent.height / figure.dpi)
            return
        legend.remove()
