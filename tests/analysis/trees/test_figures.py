"""Drawn trees: where constituents stand, which are coloured."""

import pytest

from analysis.figures.style import COLOURS
from analysis.scores.spans import Span
from analysis.trees.figures import DrawnTree, levels_of, trees_figure

SPANS = (Span("S", 0, 3), Span("NP", 0, 1), Span("VP", 1, 3), Span("VP", 1, 3))
WRONG = DrawnTree("ours", ("i", "see", "it"), ("P", "V", "P"), SPANS, SPANS[:3])


def test_trees() -> None:
    """An outer constituent stands above all within it, over the middle of its words; of two equal ones one may be
    expected, and the other is coloured as wrong."""
    assert levels_of(WRONG) == [3, 1, 2, 1]
    figure = trees_figure([[WRONG, WRONG._replace(title="reference", expected=SPANS)], [WRONG]])
    assert len(figure.axes) == 3
    texts = {(t.get_text(), t.get_color()): t.get_position() for t in figure.axes[0].texts}
    assert texts["VP", COLOURS[1]][1] < texts["VP", COLOURS[0]][1] < texts["S", COLOURS[0]][1]
    words = [texts[word, "black"][0] for word in WRONG.words]
    inner = (words[1] + words[2]) / 2
    assert texts["VP", COLOURS[0]][0] == pytest.approx(inner)
    assert texts["S", COLOURS[0]][0] == pytest.approx((words[0] + inner) / 2)  # in the middle of its parts
    lines = figure.axes[0].lines
    assert len(lines) == len(SPANS) - 1 + len(
        WRONG.words
    )  # one above each constituent but the top, and each word
    assert sum(line.get_color() == COLOURS[1] for line in lines) == 2
    assert not [line for line in figure.axes[1].lines if line.get_color() == COLOURS[1]]


def test_refuses() -> None:
    with pytest.raises(ValueError, match="no tree to draw"):
        trees_figure([[]])
    with pytest.raises(ValueError, match="lies outside its words"):
        trees_figure([[WRONG._replace(spans=(Span("S", 0, 4),))]])
