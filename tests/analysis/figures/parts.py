"""Shared by the tests of the figures: what is drawn, and what is read off a drawing."""

import io
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.figures.curves import loss_curves, training_curves
from analysis.figures.gradients import eigenvalues_in_plane, gradient_against_lag, singular_values_against_lag

Values = NDArray[Any]
K, N, S, T = 40, 9, 6, 12
NAMES = ["elman glorot", "elman orthogonal", "gru", "lstm"]


def some_norms(names: list[str], seed: int, shape: tuple[int, ...] = (K,)) -> dict[str, Values]:
    random = np.random.default_rng(seed)
    lags = np.arange(K).reshape(-1, *[1] * (len(shape) - 1))
    return {name: np.exp(-0.4 * i * lags + random.normal(size=shape)) for i, name in enumerate(names)}


def some_spectra(names: list[str], shape: tuple[int, ...] = (K, S)) -> dict[str, Values]:
    random = np.random.default_rng(7)
    return {name: np.sort(random.normal(size=shape), -1)[..., ::-1] - i for i, name in enumerate(names)}


def some_eigenvalues(names: list[str], shape: tuple[int, ...] = (T, S)) -> dict[str, NDArray[np.complex128]]:
    random = np.random.default_rng(8)
    return {name: random.normal(size=shape) + 1j * random.normal(size=shape) for name in names}


def some_curves(names: list[str]) -> dict[str, dict[str, Values]]:
    return {
        name: {"step": np.arange(0, 500, 50), "value": 0.3 / np.arange(1 + i, 11 + i)}
        for i, name in enumerate(names)
    }


def line_of(ax: Axes, label: str) -> Line2D:
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line


def points_of(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    line = line_of(ax, label)
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def legend_texts(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def bands_of(ax: Axes) -> list[Values]:
    return [
        np.asarray(each.get_paths()[0].vertices)
        for each in ax.collections
        if isinstance(each, PolyCollection)
    ]


def every_figure(names: list[str]) -> dict[str, Figure]:
    return {
        "gradients": gradient_against_lag(some_norms(names, 0), some_norms(names, 1, (K, N))),
        "spectra": singular_values_against_lag(some_spectra(names)),
        "eigenvalues": eigenvalues_in_plane(some_eigenvalues(names)),
        "accuracy": training_curves(some_curves(names), y_label="accuracy (fraction)", baseline=0.1),
        "loss": loss_curves(some_curves(names), y_label="loss (nats)", baseline=0.25),
    }


def rendered(figure: Figure) -> int:
    """Counts the bytes of its picture; nothing may warn on the way."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=50)
    return len(picture.getvalue())


def legend_of(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]
