"""Scores against the length of sentences: where the points stand, and what is refused."""

import numpy as np
import pytest

from analysis.sentences.figures import scores_against_words


def test_points() -> None:
    figure = scores_against_words({"a": np.array([0.5, np.nan]), "b": np.array([0.9, 0.8])}, [1, 6, 11], "F1")
    (axes,) = figure.axes
    np.testing.assert_allclose(np.asarray(axes.lines[1].get_xdata()), [3, 8])
    np.testing.assert_allclose(np.asarray(axes.lines[1].get_ydata()), [0.9, 0.8])
    assert axes.get_ylabel() == "F1"
    with pytest.raises(ValueError, match="scores of 'a'"):
        scores_against_words({"a": np.array([0.5])}, [1, 6, 11], "F1")
