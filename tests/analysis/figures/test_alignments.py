"""The figures of alignments and of strips: every value in its place, every token a label, and what they refuse."""

import numpy as np
import pytest

from analysis.figures.attention import Alignment, Strip, alignments_figure, strips_figure


def one(target: int, source: int, title: str = "") -> Alignment:
    weights = np.random.default_rng(target).dirichlet(np.ones(source), target)
    return Alignment(weights, [f"t{i}" for i in range(target)], [f"s${i}" for i in range(source)], title)


def test_draws_each_sentence() -> None:
    found = [one(3, 4, "a $5 sentence"), one(5, 2), one(1, 1), one(50, 45)]
    figure = alignments_figure(found)
    assert len(figure.axes) == 4
    for ax, (weights, targets, sources, _) in zip(figure.axes, found, strict=True):
        np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), weights)
        assert ax.images[0].get_clim() == (0, 1)
        rows = [label.get_text() for label in ax.get_yticklabels()]
        columns = [label.get_text() for label in ax.get_xticklabels()]
        assert rows == (list(targets) if len(targets) <= 40 else [])
        assert columns == ([s.replace("$", r"\$") for s in sources] if len(sources) <= 40 else [])
    assert figure.axes[0].get_title() == r"a \$5 sentence"
    figure.draw_without_rendering()


def test_refuses() -> None:
    with pytest.raises(ValueError, match="no alignments to draw"):
        alignments_figure([])
    with pytest.raises(ValueError, match=r"weights of 'x' have shape \[2, 3\]; expected \[1, 3\]"):
        alignments_figure([Alignment(np.ones((2, 3)), ["a"], ["b", "c", "d"], "x")])


def test_strips_share_their_steps() -> None:
    rng = np.random.default_rng(0)
    given = [Strip(rng.random((7, 3)), "weights", 0, 1), Strip(rng.normal(size=(7, 2)), "added")]
    figure = strips_figure(given)
    for ax, strip in zip(figure.axes, given, strict=True):
        np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), np.asarray(strip.values).T)
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    low, high = figure.axes[1].images[0].get_clim()
    assert low == -high
    figure.draw_without_rendering()
    with pytest.raises(ValueError, match="several numbers of steps: a 2, b 3"):
        strips_figure([Strip(np.ones((2, 1)), "a"), Strip(np.ones((3, 1)), "b")])
    with pytest.raises(ValueError, match="nothing to draw step by step"):
        strips_figure([])
