"""Figures of language models: what is drawn where, and what is refused."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures_text import perplexity_by_frequency, perplexity_by_position, perplexity_curves

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


def test_frequency() -> None:
    """A name a decade, a bar and a point in each."""
    figure = perplexity_by_frequency([0, 1, 1000], [9.0, 5.0, 1.0], [0.1, 0.2, 0.7])
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["0", "1–9", "1,000–9,999"]
    np.testing.assert_allclose(line(figure, 0, 0), np.exp([9, 5, 1]))
    bars: Any = figure.axes[1].patches
    assert [bar.get_height() for bar in bars] == [0.1, 0.2, 0.7]


def test_refused() -> None:
    with pytest.raises(ValueError, match="no curves to draw"):
        perplexity_curves({})
    with pytest.raises(ValueError, match=r"cross entropies have shape \[2\]; expected \[3\]"):
        perplexity_by_position([1, 2, 3], [1.0, 2.0], [0.0, 0.0, 0.0], 1.0)
    with pytest.raises(ValueError, match=r"shares have shape \[1\]; expected \[2\]"):
        perplexity_by_frequency([1, 10], [1.0, 2.0], [1.0])
