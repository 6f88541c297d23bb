"""Figures of health and exponents, read back."""

import math
from typing import Any

import numpy as np
import pytest

from analysis.figures.exponents import exponents_before_and_after
from analysis.figures.health import edges, health_figure
from analysis.figures.heat_image import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, heat_image
from analysis.figures.style import save

N, K = 5, 6
STEPS = np.arange(N) * 100
LAGS = np.arange(1, K + 1)


def columns(**other):
    rng = np.random.default_rng(0)
    given = {
        "step": STEPS, "exponent": rng.normal(size=N), "half_life": [3.0, math.inf, 4, 5, 6],
        "clipped_share": [math.nan, 0.5, 0.25, 0, 1], "saturated": {"forget": rng.uniform(size=N)},
        "gradient_lags": LAGS, "log_gradient": -np.add.outer(np.arange(N), LAGS).astype(float),
        "singular_lags": [1, 4], "log_singular": {1: np.zeros((N, 2)), 8: -np.ones((N, 2))},
    }  # fmt: skip
    return given | other


def along(line: Any, axis: str) -> np.ndarray:
    return np.asarray(line.get_ydata() if axis == "y" else line.get_xdata(), np.float64)


def legend_of(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_health_panels(tmp_path):
    figure = health_figure(**columns())
    exponent, lives, gates, clipped, singular, heat = figure.axes[:6]
    np.testing.assert_array_equal(along(exponent.lines[0], "y"), columns()["exponent"])
    assert np.isnan(along(lives.lines[0], "y")[1])  # an infinite half-life is a gap
    assert lives.get_yscale() == "log"
    assert legend_of(gates) == ["forget"]
    assert np.isnan(along(clipped.lines[0], "y")[0])
    assert legend_of(singular) == ["$k$ = 1", "$k$ = 4"]
    (mesh,) = heat.collections
    decades = np.asarray(mesh.get_array()).reshape(K, N)
    np.testing.assert_allclose(decades, columns()["log_gradient"].T / math.log(10))
    png, pdf = save(figure, tmp_path, "health")
    assert png.stat().st_size > 20_000
    assert pdf.stat().st_size > 5_000


def test_health_of_one_report_and_of_no_gates():
    one = {
        name: np.asarray(value)[:1] for name, value in columns().items()
        if name not in ("saturated", "log_singular", "gradient_lags", "singular_lags")
    }  # fmt: skip
    given = columns(**one, saturated={}, log_singular={1: np.full((1, 2), -np.inf)})
    figure = health_figure(**given)
    assert "the cell shows none" in [text.get_text() for text in figure.axes[2].texts]
    figure.draw_without_rendering()


def test_edges():
    np.testing.assert_array_equal(edges(np.array([0.0, 10, 30])), [-5, 5, 20, 40])


def test_heat_image_colours():
    """Of the map's pixels: early reports at the left, small lags at the bottom, viridis from low to high, white for
    what isn't finite."""
    logs = np.zeros((2, 2))
    logs[0, 1], logs[1, 0] = -np.inf, math.log(1e-6)
    image = heat_image([0, 100], [1, 9], logs, "a title")
    assert image.shape == (TOP + HEIGHT + BOTTOM, LEFT + WIDTH + RIGHT, 3)
    assert image.dtype == np.uint8

    def at(report: int, lag: int) -> tuple[int, ...]:
        x, y = LEFT + WIDTH * (2 * report + 1) // 4, TOP + HEIGHT * (3 - 2 * lag) // 4
        return tuple(int(v) for v in image[y, x])

    yellow, violet = (253, 231, 36), (68, 1, 84)
    assert at(0, 0) == at(1, 1) == yellow
    assert at(1, 0) == violet
    assert at(0, 1) == (255, 255, 255)
    with pytest.raises(ValueError, match=r"logarithms have shape \[2, 2\]; expected \[3, 2\]"):
        heat_image([0, 1, 2], [1, 9], logs, "")


def test_exponents_before_and_after():
    before = {"a": np.array([[0.1, -1.0, -np.inf], [0.3, -2.0, -np.inf]]), "b": np.array([0.0, -0.5])}
    figure = exponents_before_and_after(before, {"a": np.array([0.5, -1.0, -3.0]), "b": np.zeros(2)})
    left, right = figure.axes
    lines = {line.get_label(): line for line in left.lines}
    np.testing.assert_allclose(along(lines["a"], "y"), [0.2, -1.5, np.nan])
    np.testing.assert_allclose(along(lines["a"], "x"), [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(along(lines["b"], "x"), [0.5, 1])
    assert right.get_title() == "after training"
    with pytest.raises(ValueError, match="no exponents before training to draw"):
        exponents_before_and_after({}, {"a": np.zeros(2)})
