"""Figures of language models: what is drawn where, and what is refused."""

import io
import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.families import families_side_by_side
from analysis.figures.language import perplexity_by_frequency, perplexity_by_position, perplexity_curves

CURVES = {
    "train": {"step": [1, 2, 3], "cross_entropy": [3.0, 2.0, np.nan]},
    "validation": {"step": [2, 3], "cross_entropy": [2.5, 1.5]},
}


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line(figure: Figure, axis: int, place: int) -> np.ndarray:
    return np.asarray(figure.axes[axis].lines[place].get_ydata(), np.float64)


def test_curves() -> None:
    """Losses at the left and their exponentials at the right, with a baseline across each; gaps stay gaps."""
    figure = perplexity_curves(CURVES, baseline=6.0, baseline_label="3-gram")
    assert legend(figure) == ["train", "validation", "3-gram"]
    np.testing.assert_array_equal(line(figure, 0, 0), [3, 2, np.nan])
    np.testing.assert_allclose(line(figure, 1, 1), np.exp([2.5, 1.5]))
    np.testing.assert_allclose([line(figure, i, 2)[0] for i in (0, 1)], [np.log(6), 6])
    assert len(perplexity_curves(CURVES).axes[0].lines) == 2


def test_position() -> None:
    figure = perplexity_by_position([1, 2, 8], [3.0, 2.0, 1.0], [0.1, 0.1, 0.1], carried=0.9)
    np.testing.assert_allclose(line(figure, 0, 0), np.exp([3, 2, 1]))
    np.testing.assert_allclose(line(figure, 0, 1), np.exp(0.9))
    assert figure.axes[0].get_xscale() == "log"
    assert legend(figure) == ["state begun at zero", "state carried through the text"]


@pytest.mark.parametrize("losses", [[800.0, 5.0, 220.0], [800.0, 900.0, 1000.0]])
def test_perplexities_too_large_to_draw_are_gaps(losses: list[float]) -> None:
    """Drawn without a warning; what can be drawn is."""
    curve, places = {"step": [1, 2, 3], "cross_entropy": losses}, [1, 2, 3]
    drawn = {
        "curves": (perplexity_curves({"train": curve}, baseline=6.0), 1),
        "position": (perplexity_by_position(places, losses, [0.1] * 3, carried=losses[0]), 0),
        "frequency": (perplexity_by_frequency([0, 1, 1000], losses, [0.1, 0.2, 0.7]), 0),
        "families": (
            families_side_by_side(
                {"n-gram": {"order": [1, 2], "perplexity": [9.0, 5.0]}},
                {"lstm": np.inf},
                {"lstm": curve},
                split="test",
            ),
            1,
        ),
    }
    for name, (figure, axis) in drawn.items():
        figure.savefig(io.BytesIO(), format="png")
        expected = [np.exp(x) if x < 230 else np.nan for x in losses]
        np.testing.assert_allclose(line(figure, axis, 0), expected, err_msg=name)


def test_frequency() -> None:
    """A name a decade, a bar and a point in each."""
    figure = perplexity_by_frequency([0, 1, 1000], [9.0, 5.0, 1.0], [0.1, 0.2, 0.7])
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["0", "1–9", "1,000–\n9,999"]
    np.testing.assert_allclose(line(figure, 0, 0), np.exp([9, 5, 1]))
    bars: Any = figure.axes[1].patches
    assert [bar.get_height() for bar in bars] == [0.1, 0.2, 0.7]


def test_names_of_decades_keep_apart_and_shares_are_whole_per_cents() -> None:
    figure = perplexity_by_frequency([0, 1, 10, 100, 1e3, 1e4], np.arange(6.0), np.full(6, 1 / 6))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    shares = 100 * np.asarray(figure.axes[1].get_yticks())
    np.testing.assert_allclose(shares, np.round(shares))


def test_several_models() -> None:
    """A line a name, in one panel."""
    losses = {"window": [9.0, 5.0, 1.0], "lstm": [8.0, 4.0, 0.5]}
    figure = perplexity_by_frequency([0, 1, 1000], losses, [0.1, 0.2, 0.7])
    assert legend(figure) == ["window", "lstm", "share of the tokens"]
    np.testing.assert_allclose(line(figure, 0, 1), np.exp([8, 4, 0.5]))
    figure = perplexity_by_position([1, 2, 8], losses, {name: [0.1] * 3 for name in losses})
    assert legend(figure) == ["window", "lstm"]
    np.testing.assert_allclose(line(figure, 0, 1), np.exp([8, 4, 0.5]))


def test_families() -> None:
    """Left a line a kind against n, and one across for each net that sees all before; right, training; a name looks
    the same in both."""
    by_order = {
        "window": {"order": [3, 5], "perplexity": [70, 60]},
        "n-gram": {"order": [1, 2], "perplexity": [9, 8]},
    }
    curves = {
        "window": {"step": [1, 2], "cross_entropy": [5, 4]},
        "lstm": {"step": [1, 2], "cross_entropy": [6, 3]},
    }
    figure = families_side_by_side(by_order, {"lstm": 55.0, "lstm + n-gram": 50.0}, curves, split="test")
    assert legend(figure) == ["window", "lstm", "n-gram", "lstm + n-gram"]
    np.testing.assert_array_equal(line(figure, 0, 0), [70, 60])
    assert [line(figure, 0, place)[0] for place in (2, 3)] == [55, 50]
    np.testing.assert_allclose(line(figure, 1, 1), np.exp([6, 3]))
    left, right = (axes.lines for axes in figure.axes)
    assert left[0].get_color() == right[0].get_color() != left[2].get_color() == right[1].get_color()
    assert figure.axes[0].get_ylabel() == "perplexity, test"
    with pytest.raises(ValueError, match="no perplexities to draw"):
        families_side_by_side({}, {}, {}, split="test")


def test_refused() -> None:
    with pytest.raises(ValueError, match="no curves to draw"):
        perplexity_curves({})
    with pytest.raises(ValueError, match=r"cross entropies have shape \[2\]; expected \[3\]"):
        perplexity_by_position([1, 2, 3], [1.0, 2.0], [0.0, 0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match=r"shares have shape \[1\]; expected \[2\]"):
        perplexity_by_frequency([1, 10], [1.0, 2.0], [1.0])
