"""The figures of spectra, exponents and the edge of chaos draw what they were given, and say what is what."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.figures.edge_of_chaos import Plane, depth_over_plane, depth_reached, exponent_planes
from analysis.figures.gradients import gradient_against_lag, singular_values_against_lag
from analysis.figures.lyapunov import during_training, random_nets, running_estimates, spectra_by_value
from analysis.figures.spectra import condition_numbers, mean_square, spectra_before_after
from tests.analysis.figures.parts import legend_of, rendered

NAMES = ["elman recurrent=gaussian(gain=1.5)", "gru", "_costs $3"]
LAGS = np.arange(1, 9)
RNG = np.random.default_rng(0)
SPECTRA = {name: -np.sort(RNG.random((2, 8, 5)), axis=-1) * LAGS[:, None] for name in NAMES}


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def with_label(ax: Axes, label: str) -> list[Line2D]:
    return [line for line in ax.get_lines() if line.get_label() == label]


def heights(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), float)


def test_spectra_before_and_after() -> None:
    dead = {**SPECTRA, "gru": np.where(np.arange(5) > 1, -np.inf, SPECTRA["gru"])}
    figure = spectra_before_after(LAGS, SPECTRA, dead)
    assert legend_of(figure) == ["before training", "after", "largest", "median", "quartiles"]
    ax = figure.axes[0]
    before, after = with_label(ax, "largest")
    expected = np.median(SPECTRA[NAMES[0]][:, :, 0], axis=0) / np.log(10)
    np.testing.assert_allclose(heights(before), expected)
    np.testing.assert_allclose(heights(after), expected)
    _, middle = with_label(figure.axes[1], "median")
    assert np.isnan(heights(middle)).all()  # zeros: a gap
    assert rendered(figure) > 5_000
    with pytest.raises(ValueError, match=r"no singular values to draw"):
        spectra_before_after(LAGS, {}, {})
    with pytest.raises(ValueError, match=r"expected \[5, 7\]"):
        spectra_before_after(LAGS[1:], SPECTRA, SPECTRA)


def test_the_rest_state_is_a_line_of_theory_where_it_is_known() -> None:
    """In the panel of its net alone, with one entry in the legend; in a gradient's panel before training, from the
    first point of its net on."""
    rest, label = {"gru": -0.3}, "theory: at rest, untrained"
    norms = {name: np.exp(-0.2 * LAGS) for name in NAMES}
    both = (
        spectra_before_after(LAGS, SPECTRA, SPECTRA, rest),
        singular_values_against_lag({name: spectra[0] for name, spectra in SPECTRA.items()}, rest),
    )
    for figure in both:
        (line,) = with_label(figure.axes[1], label)
        np.testing.assert_allclose(heights(line), -0.3 * LAGS / np.log(10))
        assert not with_label(figure.axes[0], label)
        assert legend_of(figure).count(label) == 1
    figure = gradient_against_lag(norms, norms, rest)
    (line,) = with_label(figure.axes[0], label)
    np.testing.assert_allclose(heights(line), np.exp(-0.2 - 0.3 * (LAGS - 1)))
    assert not with_label(figure.axes[1], label)
    assert legend_of(figure).count(label) == 1
    assert label not in legend_of(gradient_against_lag(norms, norms))


def test_mean_square_beside_theory() -> None:
    measured, theory = {"a": -0.1 * LAGS, "b": 0.2 * LAGS}, {"a": -0.11 * LAGS, "b": 0.21 * LAGS}
    figure = mean_square(LAGS, measured, theory)
    assert legend_of(figure) == ["a", "b", "mean-field theory"]
    (line,), (thin,) = with_label(figure.axes[0], "b"), with_label(figure.axes[0], "theory of b")
    np.testing.assert_allclose(heights(line), 0.2 * LAGS / np.log(10))
    np.testing.assert_allclose(heights(thin), 0.21 * LAGS / np.log(10))
    assert rendered(figure) > 5_000


def test_condition_numbers() -> None:
    panels = {
        "before training": {"a": 2.0 * LAGS, "b": np.full(8, np.inf)},
        "after training": {"a": 3.0 * LAGS, "b": LAGS},
    }
    figure = condition_numbers(LAGS, panels)
    assert [ax.get_title() for ax in figure.axes] == list(panels)
    assert legend_of(figure) == ["a", "b"]
    (gap,) = with_label(figure.axes[0], "b")
    assert np.isnan(heights(gap)).all()
    assert rendered(figure) > 5_000


def test_random_nets_beside_theory() -> None:
    gains = np.array([0.5, 1.0, 2.0])
    columns: dict[str, Any] = {"gain": gains, "first": np.log(gains), "error": 0.01 * gains, "mean": -gains}
    columns |= {"dimension": np.array([0, 0.1, np.nan]), "entropy": np.zeros(3)}
    theory = {"gain": gains, "first": np.log(gains), "mean": np.array([-np.inf, -1, -2])}
    figure = random_nets({"autonomous": columns, "driven": columns}, {"autonomous": theory})
    assert legend_of(figure) == ["autonomous", "driven", "mean-field theory"]
    assert len(figure.axes) == 4
    drawn = [heights(line) for line in figure.axes[0].get_lines()]
    assert sum(np.array_equal(y, np.log(gains)) for y in drawn) == 3  # the theory, and two nets
    assert rendered(figure) > 5_000
    with pytest.raises(ValueError, match=r"expected 'entropy' among them"):
        random_nets({"a": {k: v for k, v in columns.items() if k != "entropy"}}, {})


def test_spectra_by_value() -> None:
    values, exponents = np.array([0, 100]), np.array([[0.1, -0.2, -1], [0.0, -0.5, -np.inf]])
    figure = spectra_by_value(
        {"gru": (values, exponents), "lstm": (values[:1], exponents[:1])}, "training step"
    )
    (last,) = with_label(figure.axes[0], "100")
    np.testing.assert_allclose(np.asarray(last.get_xdata()), [1 / 3, 2 / 3, 1])
    np.testing.assert_array_equal(heights(last), [0.0, -0.5, np.nan])
    assert figure.axes[-1].get_ylabel() == "training step"
    assert [text.get_text() for text in figure.axes[-1].get_yticklabels()] == ["0", "100"]
    assert rendered(figure) > 5_000


def test_during_training() -> None:
    steps, exponents = np.array([0, 50, 100]), np.array([[0.1, -1], [0.0, -1], [-0.1, -2]])
    columns = {
        "step": steps, "driven|first": exponents[:, 0], "driven|error": np.abs(exponents[:, 0]) / 10,
        "silent|first": -exponents[:, 0], "silent|error": np.full(3, 0.01),
        "dimension": np.array([0.5, 0.25, 0]), "metric": np.array([1, 0.1, 0.01]),
    }  # fmt: skip
    figure = during_training({"gru": columns}, "mean square error", log=True)
    for ax, expected in zip(
        figure.axes, (exponents[:, 0], -exponents[:, 0], columns["dimension"], columns["metric"]), strict=True
    ):
        (line,) = with_label(ax, "gru")
        np.testing.assert_array_equal(heights(line), expected)
    assert figure.axes[3].get_yscale() == "log"
    assert figure.axes[3].get_ylabel() == "mean square error"
    assert rendered(figure) > 5_000


def test_running_estimates() -> None:
    running = np.array([[0.1, -0.2], [0.05, -np.inf], [0.06, -np.inf]])
    spectrum = {"steps": [10, 20, 30], "running": running, "mean": [0.07, -np.inf], "half_width": [0.01, 0.0]}
    figure = running_estimates({"lstm": spectrum})
    assert legend_of(figure) == ["λ₁", "λ₂", "at the end: mean over the starts, 95 %\ninterval"]
    (first,), (second,) = with_label(figure.axes[0], "1"), with_label(figure.axes[0], "2")
    np.testing.assert_array_equal(heights(first), running[:, 0])
    assert np.isnan(heights(second)[1:]).all()
    assert rendered(figure) > 5_000


PLANE = Plane(
    np.linspace(0.5, 2.5, 7),
    np.linspace(0, 1, 5),
    np.linspace(-1, 0.3, 35).reshape(7, 5),
    np.linspace(1, 1.8, 5),
)
GAINS, BIASES = np.array([0.6, 1.2, 1.8]), np.array([0.1, 0.6])


def test_exponents_over_the_plane() -> None:
    measured = np.array([[-np.inf, -0.3], [-0.1, 0.0], [0.1, 0.2]])
    figure = exponent_planes(PLANE, GAINS, BIASES, measured)
    left, right = figure.axes[:2]
    assert [ax.get_title() for ax in (left, right)] == ["mean-field theory, N → ∞", "measured"]
    values = np.asarray(right.collections[0].get_array()).ravel()
    np.testing.assert_allclose(values, np.clip(measured, -0.9, 0.3).T.ravel())  # −∞: the lowest colour
    assert legend_of(figure) == ["edge of chaos, χ = 1"]
    assert rendered(figure) > 5_000
    with pytest.raises(ValueError, match=r"measured exponents have shape \[2, 3\]; expected \[3, 2\]"):
        exponent_planes(PLANE, GAINS, BIASES, measured.T)
    with pytest.raises(ValueError, match="gains at the edge"):
        Plane(PLANE.sigma_w, PLANE.sigma_b, PLANE.exponent, PLANE.edge[1:])


def test_depth_learnt() -> None:
    accuracy = np.array([[0.9, 0.1], [0.95, 0.85], [0.3, 0.1]])
    scales = {"0.1": (GAINS, [2.0, np.inf, 3.0])}
    figure = depth_reached(GAINS, [4, 16], {"0.1": accuracy}, scales, learnt=0.8)
    ax = figure.axes[0]
    assert ax.get_title() == r"$\sigma_b = 0.1$"
    xi, six, dots = ax.get_lines()
    np.testing.assert_array_equal(heights(xi), [2, np.inf, 3])
    np.testing.assert_array_equal(heights(six), [12, np.inf, 18])
    assert {(x, y) for x, y in zip(*map(np.asarray, dots.get_data()), strict=True)} == {
        (0.6, 4),
        (1.2, 4),
        (1.2, 16),
    }
    assert legend_of(figure)[2] == "learnt: 80% or more"
    assert rendered(figure) > 5_000


def test_depth_over_the_plane() -> None:
    figure = depth_over_plane(PLANE, GAINS, BIASES, np.array([[0, 4], [16, 32], [8, 8]]))
    ax = figure.axes[0]
    assert sorted(text.get_text() for text in ax.texts) == ["16", "32", "4", "8", "8"]
    assert len([line for line in ax.get_lines() if line.get_marker() == "x"]) == 1  # none learnt there
    marks = [line for line in ax.get_lines() if line.get_marker() in ("o", "x")]
    assert not any(line.get_clip_on() for line in marks)  # discs at the border are whole
    assert rendered(figure) > 5_000
