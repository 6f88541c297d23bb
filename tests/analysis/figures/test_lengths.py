"""Figures against length: what is drawn is what was given, and what failed is seen."""

from typing import Any, cast

import numpy as np
import pytest
from matplotlib.axes import Axes

from analysis.figures.lengths import MARKERS, steps_to_solve, tokens_per_second

LIMIT = 2000
SOLVED = {
    "adding": {
        "lstm": {"length": [50, 100, 200], "steps": [300, 700, np.nan]},
        "elman": {"length": [50], "steps": [np.nan]},
        "gru": {"length": [50, 100, 200], "steps": [250, 400, np.nan]},
    },
    "copy": {"lstm": {"length": [50], "steps": [np.nan]}, "elman": {"length": [50], "steps": [2000]}},
}


def line(ax: Axes, label: str) -> Any:
    (found,) = [line for line in ax.get_lines() if line.get_label() == label]
    return found


def test_steps_are_drawn_against_lengths() -> None:
    figure = steps_to_solve(SOLVED, limit=LIMIT)
    assert [ax.get_title() for ax in figure.axes] == ["adding", "copy"]
    figure.set_dpi(200)
    figure.draw_without_rendering()  # as it is saved
    legend = figure.legends[0].get_window_extent()
    for ax in figure.axes:  # the title stands between strip and legend
        title = ax.title.get_window_extent()
        assert strip_of(ax).get_window_extent().y1 < title.y0 < title.y1 < legend.y0
    for ax, curves in zip(figure.axes, SOLVED.values(), strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert [text.get_text() for text in ax.get_xticklabels()] == ["50", "100", "200"]
        for name, curve in curves.items():
            np.testing.assert_array_equal(line(ax, name).get_xdata(), curve["length"])
            np.testing.assert_array_equal(line(ax, name).get_ydata(), curve["steps"])


def strip_of(ax: Axes) -> Axes:
    (strip,) = ax.child_axes
    return cast(Axes, strip)


def test_what_was_not_solved_is_open_and_in_a_strip_without_a_scale() -> None:
    """Each net in a row of its own: at length 200 two failed, and both are seen."""
    adding, copy = steps_to_solve(SOLVED, limit=LIMIT).axes
    strip = strip_of(adding)
    rows = {}
    for name, lengths in {"lstm": [200], "elman": [50], "gru": [200]}.items():
        failed = line(strip, f"{name}, not solved")
        np.testing.assert_array_equal(failed.get_xdata(), lengths)
        rows[name] = float(failed.get_ydata()[0])
        assert strip.get_ylim()[1] < rows[name] < strip.get_ylim()[0]
        assert failed.get_markerfacecolor() == "none"
        assert failed.get_marker() == line(adding, name).get_marker()
        assert failed.get_color() == line(adding, name).get_color()
    assert len(set(rows.values())) == 3
    assert len(strip.get_yticks()) == 0  # heights mean nothing there
    assert adding.get_ylim()[1] == LIMIT
    assert strip.get_xlim() == adding.get_xlim()
    assert len(line(strip_of(copy), "elman, not solved").get_xdata()) == 0
    assert line(copy, "elman").get_color() == line(adding, "elman").get_color()
    assert line(adding, "lstm").get_marker() == MARKERS[0]


def test_legend_names_nets_once_and_the_limit() -> None:
    (legend,) = steps_to_solve(SOLVED, limit=LIMIT).legends
    texts = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    assert texts[:3] == ["lstm", "elman", "gru"]
    assert texts[3:] == ["above: not solved in 2,000 steps"]


def test_nothing_solved_at_all() -> None:
    (ax,) = steps_to_solve({"adding": {"elman": {"length": [50], "steps": [np.nan]}}}, limit=100).axes
    low, high = ax.get_ylim()
    assert low < 100 == high


def test_rates_and_ways_that_fell_back() -> None:
    newton = {"length": [8, 64], "rate": [10.0, 900.0], "fallen": [False, True]}
    figure = tokens_per_second({"lstm": {"scan": {"length": [8, 64], "rate": [1e3, 2e3]}, "newton": newton}})
    (ax,) = figure.axes
    np.testing.assert_array_equal(line(ax, "scan").get_ydata(), [1e3, 2e3])
    np.testing.assert_array_equal(line(ax, "newton").get_ydata(), [10.0, 900.0])
    fallen = line(ax, "newton, fallen")
    assert (list(fallen.get_xdata()), fallen.get_markerfacecolor()) == ([64], "white")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["scan", "newton", "open: fell back to scan"]


@pytest.mark.parametrize(
    ("curve", "said"),
    [
        ({"length": [1]}, r"curve 'gru' has \['length'\]; expected 'length' and 'steps'"),
        ({"length": [1, 2], "steps": [1]}, "curve 'gru' has 2 of 'length', 1 of 'steps': give equal numbers"),
        ({"length": [], "steps": []}, "there is nothing to draw"),
    ],
)
def test_curves_that_cant_be_drawn(curve: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        steps_to_solve({"adding": {"gru": curve}}, limit=10)
    with pytest.raises(ValueError, match="no steps to solve to draw: the mapping is empty"):
        steps_to_solve({}, limit=10)
