"""Arrays in, matplotlib figures out; nothing is computed here but the quantiles that are drawn.

Axes of the arrays: `T` time, `S` the whole state flattened, `K` lags, `N` examples, `n` logged points.

Every function takes a mapping from a cell's name to its array and gives the i-th name the i-th colour and
dash pattern: mappings in the same order give a cell the same colour in every figure. The colours are those
of Okabe & Ito, told apart by the colour-blind; the dashes tell lines apart in grey. What an axis can't show
(NaN, infinity, zero on a log axis) is a gap in the line. Nothing here needs pyplot or a display.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from analysis.drawing import (
    COLUMN,
    GREY,
    PAGE,
    SETTINGS,
    STEPS,
    add_legend,
    arrangement,
    checked,
    count_along,
    decades,
    demand_names,
    draw_band,
    draw_line,
    entries,
    logged_column,
    panel_grid,
    quartiles,
    rest_entry,
    rest_line,
    spectrum_rows,
    styles_of,
)

DEEPEST = 30  # decades below the lowest of the largest singular values that are shown


def gradient_against_lag(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    rest: Mapping[str, float] | None = None,
) -> Figure:
    """Gradient norm ‖∂L/∂s_{T−k}‖ (s: the whole state) against the lag k, before and after training.

    Each value is `[K]` or `[K, N]` at lags k = 1 … K, as `gradient_by_lag` gives it. With examples the line is
    their median and the band lies between their quartiles. `rest` are the exponents of untrained cells at rest
    (`rest_exponent`): a line of that slope goes through the first point of its cell.
    """
    given = {"before training": before, "after training": after}
    for title, norms in given.items():
        demand_names(norms, f"gradient norms {title}")
    panels = {
        title: {
            name: quartiles(f"gradient norms of {name!r} {title}", value) for name, value in norms.items()
        }
        for title, norms in given.items()
    }
    rows = [quartiles for panel in panels.values() for quartiles in panel.values()]
    limits = np.clip(
        decades(np.log10(np.concatenate([row[row > 0] for row in rows]))), -323, 308
    )  # of a float64
    powers = MaxNLocator(6, steps=STEPS, integer=True).tick_values(*limits)
    styles = styles_of([*before, *after])
    handles = entries(styles)
    if any(np.ndim(value) == 2 for norms in given.values() for value in norms.values()):
        handles.append(Patch(color=GREY, alpha=0.3, lw=0, label="quartiles over examples"))
    handles += [rest_entry()] if rest else []
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
        axes = figure.subplots(1, 2, sharex=True, sharey=True)
        axes[0].set(yscale="log", ylabel=r"gradient norm $\|\partial L\,/\,\partial s_{T-k}\|$")
        axes[0].set_yticks([10.0**power for power in powers if limits[0] <= power <= limits[1]])
        axes[0].set_ylim(*10.0**limits)
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            for name, (low, middle, high) in panel.items():
                lags = np.arange(1, middle.size + 1)
                draw_band(ax, lags, low, high, styles[name]["color"])
                draw_line(ax, lags, np.where(middle > 0, middle, np.nan), label=name, **styles[name])
                if rest and name in rest and panel is panels["before training"]:
                    rest_line(ax, lags, middle[0] * np.exp(rest[name] * (lags - 1)))
            ax.set(title=title, xlabel="lag $k$ (steps back from the loss)")
        count_along(axes[0], 1, max(row.shape[1] for row in rows), ticks=7)
        add_legend(figure, handles)
    return figure


def singular_values_against_lag(
    spectra: Mapping[str, ArrayLike], rest: Mapping[str, float] | None = None
) -> Figure:
    """Singular values of the products J_T … J_{T−k+1} against the lag k, one panel a cell.

    Each value is `[K, S]` or `[N, K, S]`: natural logarithms at lags k = 1 … K (−inf for a zero). Drawn are
    the largest, the median, and bands between the quartiles and from smallest to largest; with examples,
    the median over them of each of the five. The axis carries log10 σ under ticks that read 10ⁿ, since σ
    itself (0.5 to the 5,000th) may lie outside floating point. It reaches `DEEPEST` decades below the lowest of the
    largest at most; a band that goes on below, to an exact zero perhaps, ends at the axis. `rest` are exponents of
    cells at rest (`rest_exponent`), whose line is that of theory.
    """
    demand_names(spectra, "singular values")
    panels = {name: spectrum_rows(name, logs) / math.log(10) for name, logs in spectra.items()}
    low, high = decades(np.concatenate([rows.ravel() for rows in panels.values()]))
    largest = np.concatenate([rows[4] for rows in panels.values()])
    limits = (max(low, np.min(largest[np.isfinite(largest)], initial=high) - DEEPEST), high)
    styles = styles_of(spectra)
    with style.context(SETTINGS, after_reset=True):
        figure, axes = panel_grid(
            spectra, 2.0, "lag $k$ (steps)", r"singular value of $J_T \cdots J_{T-k+1}$"
        )
        axes[0].set_ylim(*limits)
        axes[0].yaxis.set_major_locator(MaxNLocator(6, steps=STEPS, integer=True))
        axes[0].yaxis.set_major_formatter(lambda power, _: f"$10^{{{power:.0f}}}$")
        for ax, (name, (low, lower, middle, upper, high)) in zip(axes, panels.items(), strict=True):
            colour, lags = styles[name]["color"], np.arange(1, middle.size + 1)
            draw_band(ax, lags, low, high, colour, alpha=0.15)
            draw_band(ax, lags, lower, upper, colour, alpha=0.3)
            draw_line(ax, lags, high, label="largest", color=colour)
            draw_line(ax, lags, middle, label="median", color=colour, linestyle="--")
            if rest and name in rest:
                rest_line(ax, lags, lags * rest[name] / math.log(10))
        count_along(axes[0], 1, max(rows.shape[1] for rows in panels.values()), ticks=4)
        lines = [
            Line2D([], [], color=GREY, label="largest"),
            Line2D([], [], color=GREY, ls="--", label="median"),
        ]
        shades = {"quartiles": 0.45, "smallest to largest (to the axis: smaller, or zero)": 0.15}
        bands = [Patch(color=GREY, alpha=alpha, lw=0, label=label) for label, alpha in shades.items()]
        add_legend(figure, [*lines, *bands, *([rest_entry()] if rest else [])])
    return figure


def eigenvalues_in_plane(eigenvalues: Mapping[str, ArrayLike]) -> Figure:
    """Eigenvalues of step Jacobians in the complex plane with the unit circle, one panel a cell, each on axes of
    its own: one net with eigenvalues of 10 leaves those of the others to be seen.

    Each value is complex `[T, S]`, coloured by the time step 1 … T, or `[S]`, in the cell's colour. Points
    that aren't finite are left out.
    """
    demand_names(eigenvalues, "eigenvalues")
    panels = {
        name: checked(f"eigenvalues of {name!r}", np.asarray(value, np.complex128), "[S]", "[T, S]")
        for name, value in eigenvalues.items()
    }
    steps = max((len(values) for values in panels.values() if values.ndim == 2), default=0)
    styles = styles_of(eigenvalues)
    with style.context(SETTINGS, after_reset=True):
        _, columns, width = arrangement(len(panels))
        figure, axes = panel_grid(
            panels,
            (width - bool(steps)) / columns + 0.5,
            "real part, Re λ",
            "imaginary part, Im λ",
            shared=False,
        )
        time = ScalarMappable(Normalize(1, max(steps, 2)), cmap="viridis")
        for ax, (name, values) in zip(axes, panels.items(), strict=True):
            finite = np.isfinite(values)
            colours: Any = styles[name]["color"]
            if values.ndim == 2:
                colours = time.to_rgba(1 + np.nonzero(finite)[0])
            points = values[finite]
            ax.scatter(points.real, points.imag, s=6, c=colours, alpha=0.7, linewidths=0, rasterized=True)
            parts = np.abs(np.concatenate([points.real, points.imag]))
            reach = 1.15 * np.max(parts, initial=1.0)
            ax.add_patch(Circle((0, 0), 1, fill=False, color=GREY, lw=0.8))
            ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            ax.locator_params(nbins=5, steps=STEPS)
        if steps:
            bar = figure.colorbar(time, ax=axes, label="time (step)", aspect=25, pad=0.02)
            bar.locator = MaxNLocator(5, steps=STEPS, integer=True)
        add_legend(figure, [Line2D([], [], color=GREY, lw=0.8, label="unit circle, |λ| = 1")])
    return figure


def training_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    y_label: str,
    baseline: float | None = None,
    baseline_label: str = "trivial baseline",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """A quantity against the training step, one line a name, on a linear axis (an accuracy, say).

    Each value is `{"step": [n], "value": [n]}`; `y_label` names the quantity and its unit. What the trivial
    answer reaches, `baseline`, is a thin dashed line across. `colours` are those that the names have in another
    figure of the same run.
    """
    demand_names(curves, "training curves")
    logged = {
        name: (logged_column(name, curve, "step"), logged_column(name, curve, "value"))
        for name, curve in curves.items()
    }
    for name, (steps, values) in logged.items():
        if steps.size != values.size:
            raise ValueError(f"curve {name!r} has {steps.size} steps and {values.size} values; give as many")
    every = np.concatenate([steps for steps, _ in logged.values()])
    styles = styles_of(curves)
    for name, colour in (colours or {}).items():
        styles[name]["color"] = colour
    handles = entries(styles)
    with style.context(SETTINGS, after_reset=True):
        figure = Figure(figsize=(COLUMN, 2.2), layout="constrained")
        ax = figure.subplots()
        ax.set(xlabel="training step", ylabel=y_label)
        for name, (steps, values) in logged.items():
            draw_line(ax, steps, values, label=name, **styles[name])
        if baseline is not None:
            handles.append(ax.axhline(baseline, color=GREY, lw=0.9, ls="--", label=baseline_label))
        count_along(ax, every.min(), every.max(), ticks=5)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        add_legend(figure, handles)
    return figure


def loss_curves(
    curves: Mapping[str, Mapping[str, ArrayLike]],
    *,
    y_label: str,
    baseline: float | None = None,
    baseline_label: str = "trivial baseline",
) -> Figure:
    """`training_curves` on a logarithmic axis."""
    values = {name: logged_column(name, curve, "value") for name, curve in curves.items()}
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
        figure.set_dpi(
            200
        )  # laid out as the file is drawn: at fewer dots letters are narrower, and would be cut
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: each further drawing would move the panels a little
        for path in (png, pdf):
            path.unlink(missing_ok=True)  # a link is replaced, and not followed
        with png.open("xb") as file:
            figure.savefig(file, format="png", dpi=200)
        with pdf.open("xb") as file:  # dpi: of the points of a scatter
            figure.savefig(file, format="pdf", dpi=400, metadata={"CreationDate": None})
    return [png, pdf]
