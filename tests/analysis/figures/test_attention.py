"""Score maps: a panel for each head, labelled where there is room."""

import numpy as np
import pytest

from analysis.figures.attention import LABELLED, attention_figure


def test_a_panel_for_each_head() -> None:
    random = np.random.default_rng(0)
    maps = {"layer 1": random.uniform(size=(2, 3, 4)), "layer 2": random.uniform(size=(2, 3, 4))}
    maps["layer 2"][1, 2, 1] = 7.0
    figure = attention_figure(maps, ["a", " ", "$"], list("wxyz"))
    axes = figure.axes
    assert len(axes) == 4
    images = [ax.get_images()[0] for ax in axes]
    np.testing.assert_array_equal(images[3].get_array(), maps["layer 2"][1])
    assert images[3].get_clim() == (0, 7)
    assert axes[3].get_title() == "head 2, up to 7.00"
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a", "␣", r"\$"]
    assert [label.get_text() for label in axes[2].get_xticklabels()] == list("wxyz")
    assert axes[0].get_ylabel() == "layer 1: reads at"
    assert not axes[0].get_xticklabels()


def test_many_steps_have_no_labels() -> None:
    words = ["a"] * (LABELLED + 1)
    figure = attention_figure({"one": np.ones((1, len(words), len(words)))}, words, words)
    assert not figure.axes[0].get_xticklabels()
    with pytest.raises(ValueError, match=r"expected \[heads, T, S\]"):
        attention_figure({"one": np.ones((2, 2))}, ["a", "b"], ["a", "b"])
