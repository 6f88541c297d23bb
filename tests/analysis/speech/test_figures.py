"""Pairs of spectrograms and the map of segments: what is drawn where, and what is refused."""

import numpy as np
import pytest

from analysis.speech.figures import Rebuilt, pairs_figure, segment_map


def test_pairs_share_their_shades() -> None:
    frames = np.arange(12.0).reshape(4, 3)
    figure = pairs_figure([Rebuilt(frames, frames / 2, "one"), Rebuilt(frames[:2], frames[:2], "two")], 0.01)
    left, right, *_ = (ax.images[0] for ax in figure.axes)
    np.testing.assert_array_equal(np.asarray(right.get_array()), frames.T / 2)
    assert left.get_clim() == right.get_clim() == (0, 11)
    assert left.get_extent() == pytest.approx([0, 0.04, 0, 3])
    with pytest.raises(ValueError, match="frames written of 'one'"):
        pairs_figure([Rebuilt(frames, frames[:2], "one")], 0.01)
    with pytest.raises(ValueError, match="no segment"):
        pairs_figure([], 0.01)


def test_names_stand_at_their_places() -> None:
    places = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    (axes,) = segment_map(places, ["12", "32", "21"]).axes
    np.testing.assert_array_equal([text.get_position() for text in axes.texts], places)
    assert [text.get_text() for text in axes.texts] == ["12", "32", "21"]
    one, other, last = (text.get_color() for text in axes.texts)
    assert one == other != last
    with pytest.raises(ValueError, match="places of segments"):
        segment_map(places, ["12"])
