"""Figures of many trainings: what is drawn is what was given, and what has no outcome is not drawn."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.figures.outcomes import (
    clipping_outcomes,
    loss_by_way,
    outcomes_against,
    outcomes_by_setting,
)

RATES = [0.01, 0.1, 1.0]
LOSSES = np.array([[0.1, 0.2, 0.4], [0.3, 0.2, np.inf], [np.nan, np.inf, 0.5]])


def marked(ax: Axes) -> list[Any]:
    """The lines with a mark: those of names, and not those across."""
    return [line for line in ax.get_lines() if line.get_marker() not in ("None", "x")]


def test_medians_over_the_seeds() -> None:
    """Two of three nets without an outcome have none in the median."""
    given = {
        "task": {"net": {"x": RATES, "values": LOSSES}, "other": {"x": RATES[:2], "values": LOSSES[:2, :1]}}
    }
    figure = outcomes_against(given, x_label="rate", y_label="loss", log="xy", levels={"guessing": 0.25})
    (ax,) = figure.axes
    net, other = marked(ax)
    np.testing.assert_allclose(net.get_xdata(), RATES)
    np.testing.assert_allclose(net.get_ydata(), [0.2, 0.3, np.nan])
    np.testing.assert_allclose(other.get_ydata(), [0.1, 0.3])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert net.get_color() != other.get_color()
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["net", "other", "least to most of the seeds", "guessing", "median above, or not finite"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.01", "0.1", "1"]


def test_clipping_outcomes() -> None:
    """Losses, shares and counts of each way stand one above the other; no clipping has no share."""
    ways = {"none": LOSSES, "value": LOSSES / 2}
    shares = {"none": np.zeros((3, 3)), "value": np.full((3, 3), 0.25)}
    counts = {"none": [0, 1, 2], "value": [3, 0, 0]}
    figure = clipping_outcomes(
        RATES, {"adding": ways}, {"adding": shares}, {"adding": counts}, baselines={"adding": 1 / 6}
    )
    loss, share, count = figure.axes
    np.testing.assert_allclose(marked(loss)[1].get_ydata(), [0.1, 0.15, np.nan])
    (only,) = marked(share)
    np.testing.assert_allclose(only.get_ydata(), [0.25] * 3)
    assert [text.get_text() for text in count.texts] == ["0", "1", "2", "3", "0", "0"]
    assert [text.get_text() for text in count.get_yticklabels()] == ["none", "value"]


def test_curves_end_where_they_are_no_longer_finite() -> None:
    curves = {
        "none": {"step": [1, 2, 3], "value": [1.0, np.inf, np.nan]},
        "value": {"step": [1, 2, 3], "value": [1, 0.5, 0.1]},
    }
    figure = loss_by_way({"rate 1": curves}, y_label="loss", baseline=0.5)
    (ax,) = figure.axes
    lines: dict[str, Any] = {str(line.get_label()): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["none"].get_ydata(), [1, np.nan, np.nan])
    np.testing.assert_allclose(lines["value"].get_ydata(), [1, 0.5, 0.1])
    crosses: list[Any] = [line for line in ax.get_lines() if line.get_marker() == "x"]
    (cross,) = crosses
    np.testing.assert_allclose(cross.get_xdata(), [2])
    assert cross.get_color() == lines["none"].get_color()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="no outcomes to draw"):
        outcomes_against({}, x_label="", y_label="")
    with pytest.raises(ValueError, match="outcomes of 'a' are at 2 points, and x has 3"):
        outcomes_against({"t": {"a": {"x": RATES, "values": np.ones((2, 1))}}}, x_label="", y_label="")
    with pytest.raises(ValueError, match="expected 'values' and 'x'"):
        outcomes_against({"t": {"a": {"x": RATES}}}, x_label="", y_label="")
    with pytest.raises(ValueError, match="no curves to draw"):
        loss_by_way({}, y_label="", baseline=1.0)


def test_outcomes_by_setting() -> None:
    """A row a name: its seeds as dots, their median, and a bar from least to most; what is missing is not drawn."""
    rows = {"gru(reset=before)": [3.0, 1.0, 2.0], "lstm": [0.5, np.nan, 0.7], "none": [np.nan] * 3}
    figure = outcomes_by_setting(rows, x_label="loss", log=True)
    (ax,) = figure.axes
    assert [text.get_text().replace("\n", "") for text in ax.get_yticklabels()] == list(rows)
    dots: list[Any] = [line for line in ax.get_lines() if line.get_marker() == "o"]
    middles: list[Any] = [line for line in ax.get_lines() if line.get_marker() == "|"]
    np.testing.assert_allclose(dots[1].get_xdata(), [0.5, 0.7])
    assert [float(line.get_xdata()[0]) for line in middles] == [2.0, pytest.approx(0.6)]
    assert len(dots) == 2
    with pytest.raises(ValueError, match="no outcomes to draw"):
        outcomes_by_setting({}, x_label="")


def test_levels_and_theory_are_within_reach_and_named() -> None:
    """A level far from the outcomes lies inside the axis all the same; theory is a black line in every panel."""
    given = {title: {"net": {"x": RATES, "values": LOSSES[:, :1]}} for title in ("one", "two")}
    line = ([0.01, 1.0], [0.1, 0.7])
    figure = outcomes_against(given, x_label="", y_label="", levels={"chance": 2.5}, theory={"at rest": line})
    for ax in figure.axes:
        drawn: Any = next(drawn for drawn in ax.get_lines() if drawn.get_label() == "at rest")
        np.testing.assert_allclose(drawn.get_xydata(), np.transpose(line))
        assert drawn.get_color() == "black"
        assert ax.get_ylim()[1] > 2.5
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()].count("at rest") == 1
