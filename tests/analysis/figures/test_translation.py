"""Figures of translation models: every value where it was given, limits and mistakes."""

import numpy as np
import pytest

from analysis import head_statistics
from analysis.figures.translation import (
    gradient_by_place,
    head_figure,
    score_against_length,
    scores_against_width,
    thinned,
)
from tests.analysis.figures.parts import legend_texts, points_of, rendered

SYSTEMS = ("fixed context", "attention")


def test_score_against_length() -> None:
    scores = {name: np.array([30.0, 20.0, i]) for i, name in enumerate(SYSTEMS)}
    figure = score_against_length(scores, [1, 3, 10], trained=3)
    (ax,) = figure.axes
    for name, values in scores.items():
        lengths, drawn = points_of(ax, name)
        np.testing.assert_array_equal(lengths, [1, 3, 10])
        np.testing.assert_array_equal(drawn, values)
    assert legend_texts(figure) == [*SYSTEMS, "longest in training"]
    rendered(figure)
    with pytest.raises(ValueError, match=r"scores of 'one' have shape \[2\]; expected \[3\]"):
        score_against_length({"one": [1, 2]}, [1, 3, 10])


def test_scores_against_width() -> None:
    panels = {
        title: {name: np.array([1.0, 2.0]) * (i + 1) for i, name in enumerate(SYSTEMS)}
        for title in ("BLEU", "seconds", "length ratio")
    }
    figure = scores_against_width(panels, [1, 50])
    assert [ax.get_ylabel() for ax in figure.axes] == list(panels)
    for ax, systems in zip(figure.axes, panels.values(), strict=True):
        for name, values in systems.items():
            np.testing.assert_array_equal(points_of(ax, name), [[1, 50], values])
    assert [ax.get_yscale() for ax in figure.axes] == ["linear", "log", "linear"]
    rendered(figure)
    assert thinned([1, 2, 3, 4, 5, 10]) == [1, 2, 3, 5, 10]
    with pytest.raises(ValueError, match="panels are \\['BLEU'\\]"):
        scores_against_width({"BLEU": panels["BLEU"]}, [1, 50])


def test_heads() -> None:
    """Two heads, one uniform; one head alone diverges from none."""
    uniform = np.full((4, 4), 0.25)
    layers = {
        "two heads": head_statistics(np.stack([np.eye(4), uniform]))._asdict(),
        "one head": head_statistics(uniform[None])._asdict(),
    }
    figure = head_figure(layers, {"entropy": np.log(4), "distance": 1.25})
    entropy, distance, divergence = figure.axes
    np.testing.assert_allclose(np.asarray(entropy.get_lines()[0].get_ydata(), float), [0, np.log(4)])
    np.testing.assert_allclose(np.asarray(distance.get_lines()[1].get_ydata(), float), [1.25])
    np.testing.assert_allclose(
        np.asarray(divergence.get_lines()[0].get_ydata(), float),
        np.full(2, layers["two heads"]["divergence"][0, 1]),
    )
    assert np.isnan(np.asarray(divergence.get_lines()[1].get_ydata(), float)).all()
    rendered(figure)


def test_gradient_by_place() -> None:
    random = np.random.default_rng(0)
    lengths = [2, 5]
    gradients = {
        moment: {net: {n: random.uniform(1e-6, 1, n) for n in lengths} for net in SYSTEMS}
        for moment in ("before training", "after training")
    }
    figure = gradient_by_place(gradients, {net: np.array([1, 0.5]) for net in SYSTEMS}, lengths, trained=2)
    panels = figure.axes[:4]
    for i, ax in enumerate(panels):
        moment, net = list(gradients)[i // 2], SYSTEMS[i % 2]
        for n in lengths:
            np.testing.assert_array_equal(
                points_of(ax, f"n = {n}"), [1 + np.arange(n), gradients[moment][net][n]]
            )
    np.testing.assert_array_equal(points_of(figure.axes[4], "attention"), [lengths, [1, 0.5]])
    rendered(figure)
