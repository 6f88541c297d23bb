"""Figures of labels: counts and rates as given."""

import numpy as np
import pytest

from analysis.figures.labelling import confusion_figure, errors_by_frequency


def test_confusions_are_written_and_their_shares_grey() -> None:
    (ax,) = confusion_figure([[8, 2], [0, 5]], ["NOUN", "VERB"]).axes
    assert sorted(text.get_text() for text in ax.texts) == ["2", "5", "8"]
    image = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(image, np.sqrt([[0.8, 0.2], [0, 1]]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["NOUN", "VERB"]
    with pytest.raises(ValueError, match="no labels to draw"):
        confusion_figure(np.zeros((0, 0)), [])
    with pytest.raises(ValueError, match="counts have shape"):
        confusion_figure([[1, 2]], ["NOUN", "VERB"])


def test_errors_by_frequency_in_percent() -> None:
    (ax,) = errors_by_frequency([10, 40, 0], [5, 10, 0], [0, 1, 3]).axes
    heights = [bar.get_height() for bar in ax.patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(heights, [50, 25, 0, 100 / 3, 200 / 3, 0])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1–2", "3+"]
    with pytest.raises(ValueError, match="errors have shape"):
        errors_by_frequency([1, 2], [1], [0, 1])
