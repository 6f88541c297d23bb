"""Sentences with coloured words: what stands where, and what is refused."""

from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from analysis.figures.words import ACROSS, WordRow, place, width_of, words_figure


def rgb(patch: Any) -> np.ndarray:
    """The colour of a box."""
    return np.array(patch.get_facecolor()[:3])


LONG = WordRow(["word"] * 60, np.linspace(0, 0.5, 60), "long")


def test_boxes_under_words() -> None:
    """A box for each word, in the colour of its number: the darkest for the largest."""
    figure = words_figure([LONG, WordRow(["a", "$b"], [0.2, 0.1])], "weight")
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(boxes) == 62
    reds = np.array([rgb(box).sum() for box in boxes[:60]])
    assert (np.diff(reds) <= 1e-9).all()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("word") == 60
    assert r"\$b" in texts
    figure.draw_without_rendering()


def test_signed_numbers_have_two_colours() -> None:
    figure = words_figure([WordRow(["a", "b", "c"], [-1, 0, 1])], "2 P − 1", signed=True)
    low, middle, high = map(rgb, figure.axes[0].patches)
    assert low[0] > low[2]
    assert high[2] > high[0]
    assert middle.min() > 0.9


def test_words_stay_in_their_column() -> None:
    """Of two columns: no word beyond its own; a long sentence moves the next row down."""
    rows = [LONG, WordRow(["x"], [1.0]), WordRow(["y"], [1.0]), WordRow(["z"], [1.0])]
    placed, lines = place(rows, ["left", "right"])
    by_text = {one.text: one for one in placed}
    words = [one for one in placed if one.text == "word"]
    assert max(one.x + width_of(one.text) for one in words) <= ACROSS / 2
    assert by_text["x"].x >= ACROSS / 2
    assert by_text["x"].line == words[0].line
    assert by_text["y"].line == by_text["z"].line > words[-1].line
    assert lines > by_text["y"].line
    assert [by_text[name].x for name in ("left", "right")] == [0, ACROSS / 2]


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="no sentences to draw: the list is empty"):
        words_figure([], "weight")
    with pytest.raises(ValueError, match="there are 1 values for the 2 words of 'first'"):
        words_figure([WordRow(["a", "b"], [1.0], "first")], "weight")
