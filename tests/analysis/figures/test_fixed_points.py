"""Figures of fixed points and of flossed nets: what stands in them, and what they refuse."""

import numpy as np
import pytest

from analysis.figures.curves import curves_of_variants
from analysis.figures.exponents import spectra_of_variants
from analysis.figures.fixed_points import bits_against_time, fixed_points_in_axes

PATHS = np.zeros((2, 5, 3))


def test_legend_counts_each_kind() -> None:
    points, unstable = np.arange(12.0).reshape(4, 3), [0, 0, 1, 2]
    figure = fixed_points_in_axes(points, unstable, [True, True, True, False], PATHS, np.ones((2, 4, 3)))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "trajectories",
        "unstable manifolds of saddles",
        "stable (2)",
        "saddle, 1 unstable direction (1)",
        "slow, saddle, 2 unstable directions (1)",
    ]
    flat = figure.axes[1]  # the stable points drawn at their first two coordinates
    (stable,) = [line for line in flat.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal(stable.get_xydata(), points[:2, :2])


def test_no_points_at_all() -> None:
    figure = fixed_points_in_axes(np.zeros((0, 3)), [], np.zeros(0, bool), PATHS)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["trajectories"]


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="numbers of unstable directions have shape"):
        fixed_points_in_axes(np.zeros((2, 3)), [0], [True, True], PATHS)
    with pytest.raises(ValueError, match="trajectories have shape"):
        fixed_points_in_axes(np.zeros((1, 3)), [0], [True], np.zeros((5, 3)))
    with pytest.raises(ValueError, match="outputs have shape"):
        bits_against_time(np.zeros((5, 2)), np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="no curves of variants to draw"):
        curves_of_variants({}, y_labels={}, solved_at={})
    with pytest.raises(ValueError, match="no spectra of variants to draw"):
        spectra_of_variants({}, flossed={})


def test_bits() -> None:
    outputs = np.random.default_rng(0).normal(size=(6, 2))
    figure = bits_against_time(np.eye(6)[:, :2], np.ones((6, 2)), outputs)
    assert [ax.get_ylabel() for ax in figure.axes] == ["bit 1", "bit 2"]
    np.testing.assert_array_equal(figure.axes[1].lines[-1].get_ydata(), outputs[:, 1])


def test_a_dot_where_training_ended() -> None:
    curve = {"step": [10, 20], "value": [0.5, 0.005]}
    figure = curves_of_variants(
        {"task": {"a": [curve, curve]}}, y_labels={"task": "error"}, solved_at={"task": 0.01}
    )
    assert figure.axes[0].get_yscale() == "log"
    dots = [line for line in figure.axes[0].lines if len(line.get_xydata()) == 1]  # type: ignore
    assert [dot.get_xydata().tolist() for dot in dots] == [[[20.0, 0.005]]] * 2  # type: ignore


def test_spectra_are_means_over_sequences() -> None:
    values = np.array([[0.0, -1, -2], [-0.2, -1.4, -2]])
    figure = spectra_of_variants({"task": {"a": values}}, flossed={"task": 2})
    line = next(line for line in figure.axes[0].lines if line.get_label() == "a")
    np.testing.assert_allclose(np.asarray(line.get_ydata()), [-0.1, -1.2, -2])
