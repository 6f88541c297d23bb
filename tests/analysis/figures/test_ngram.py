"""Figures of n-gram models: what is drawn is what was given."""

from typing import Any

import numpy as np
import pytest

from analysis.figures.ngram import perplexity_by_order, size_by_order

ORDERS = [1, 2, 3]


def test_perplexities() -> None:
    curves = {
        "mle": {"order": ORDERS, "perplexity": [600.0, np.inf, np.inf]},
        "kneser_ney": {"order": ORDERS, "perplexity": [600.0, 180.0, 140.0]},
    }
    figure = perplexity_by_order(curves, split="test")
    (ax,) = figure.axes
    first, second = ax.get_lines()
    np.testing.assert_array_equal(first.get_ydata(), [600, np.nan, np.nan])
    np.testing.assert_array_equal(second.get_ydata(), [600, 180, 140])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "perplexity, test"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["maximum likelihood, infinite from n = 2 on", "modified Kneser–Ney"]
    assert first.get_color() != second.get_color()


def test_sizes() -> None:
    figure = size_by_order(ORDERS, [10, 200, 5000], {"valid": [0.0, 0.2, 0.7], "test": [0.0, 0.3, 0.8]})
    axes: list[Any] = figure.axes
    left, right = axes
    assert [bar.get_height() for bar in left.patches] == [10, 200, 5000]
    assert [text.get_text() for text in left.texts] == ["10", "200", "5,000"]
    np.testing.assert_array_equal(right.get_lines()[1].get_ydata(), [0.0, 0.3, 0.8])
    assert [text.get_text() for text in right.get_legend().get_texts()] == ["valid", "test"]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="no perplexities to draw"):
        perplexity_by_order({}, split="test")
    with pytest.raises(ValueError, match=r"shares of 'test' have shape \[2\]; expected \[3\]"):
        size_by_order(ORDERS, [1, 2, 3], {"test": [0.0, 0.1]})
