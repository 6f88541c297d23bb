"""The map of words: labels cover neither points nor one another."""

from itertools import pairwise

import numpy as np

from analysis.words.figures import word_map


def test_a_label_covers_no_point() -> None:
    """In a row of points, each in the way of the label of the one before, labels go below and above."""
    words = ["implementation", "reference", "characters", "expression"]
    places = np.array([[0.0, 0.0], [0.1, 0.0], [0.5, 0.0], [0.55, 0.0]])
    figure = word_map(np.concatenate([places, [[1.5, 1.0], [1.5, -1.0]]]), [*words, "a", "b"])
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = [text.get_window_extent() for text in ax.texts]
    assert {"implementation", "a", "b"} <= {text.get_text() for text in ax.texts}
    for x, y in ax.transData.transform(places):
        assert not any(box.x0 < x < box.x1 and box.y0 < y < box.y1 for box in boxes)
    for one, other in pairwise(boxes):
        assert not (one.x0 < other.x0 < one.x1 and abs(one.y0 - other.y0) < one.height / 2)
