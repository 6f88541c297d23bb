"""The figures of theory and geometry draw what they were given, and say what is what."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from analysis import edge_of_chaos, tanh_mean_field
from analysis.figures_surface import error_surface_3d, error_surface_contours
from analysis.figures_theory import edge_of_chaos_plane, fixed_points_in_plane, gradient_beside_theory
from tests.analysis.figure_parts import legend_of, rendered

GAINS, DRIVES = np.linspace(0.0, 3, 12), np.linspace(0, 2, 9)
X, Y = np.linspace(-2, 1, 7), np.linspace(3, 5, 5)
LOSS = X[:, None] ** 2 + Y[None]
PATH = np.array([[-1.0, 4.0], [0.0, 4.5], [9.0, 30.0]])


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def with_label(ax: Axes, label: str) -> Line2D:
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line


def points_of(line: Line2D) -> np.ndarray:
    return np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])


def test_edge_of_chaos() -> None:
    """The colours change sign along the black line: white at zero, one hue on each side."""
    exponent = tanh_mean_field(GAINS[:, None], DRIVES[None]).exponent  # −∞ at gain zero
    edge = edge_of_chaos(DRIVES)
    figure = edge_of_chaos_plane(GAINS, DRIVES, exponent, edge, label="bias")
    ax = figure.axes[0]
    np.testing.assert_array_equal(points_of(ax.get_lines()[0]), np.column_stack([edge, DRIVES]))
    mesh: Any = ax.collections[0]
    drawn = np.asarray(mesh.get_array()).reshape(len(DRIVES), len(GAINS))
    finite = np.isfinite(exponent)
    kept = finite & (exponent > drawn.min())
    np.testing.assert_allclose(drawn.T[kept], exponent[kept])
    assert np.isfinite(drawn).all()
    assert mesh.norm(0.0) == 0.5
    assert ax.get_ylabel() == "bias"
    assert rendered(figure)


def test_gradient_beside_theory() -> None:
    """Median as a coloured line, the theory as a black one, both in decades."""
    logs = -0.3 * np.arange(1.0, 21)
    noisy = np.exp(logs)[:, None] * np.array([0.5, 1.0, 3.0])
    figure = gradient_beside_theory({"a": noisy, "b": np.exp(2 * logs)}, {"a": logs})
    ax = figure.axes[0]
    np.testing.assert_allclose(points_of(with_label(ax, "a"))[:, 1], logs / np.log(10))
    theory = with_label(ax, "theory of a")
    np.testing.assert_allclose(points_of(theory), np.column_stack([np.arange(1, 21), logs / np.log(10)]))
    assert to_hex(theory.get_color()) == "#000000"
    assert legend_of(figure) == ["a", "b", "mean-field theory"]
    assert rendered(figure)


def test_zeros_are_gaps() -> None:
    """A gradient of exactly zero has no logarithm; the figure stands."""
    norms = np.array([1.0, 0.1, 0.0, 0.0])
    figure = gradient_beside_theory({"a": norms}, {})
    line = points_of(with_label(figure.axes[0], "a"))
    np.testing.assert_array_equal(np.isfinite(line[:, 1]), [True, True, False, False])
    assert rendered(figure)


def test_contours() -> None:
    norms = np.abs(2 * X)[:, None] + np.ones(len(Y))
    figure = error_surface_contours(X, Y, LOSS, norms, {"no clipping": PATH}, labels=("w", "b"))
    left, right = figure.axes[:2]
    mesh: Any = right.collections[0]
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(len(Y), len(X)), norms.T)
    for ax in (left, right):
        assert any(np.array_equal(points_of(line), PATH) for line in ax.get_lines())
        assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 1), (3, 5))  # not stretched by what left the picture
    assert legend_of(figure) == ["no clipping", "start"]
    assert (left.get_xlabel(), left.get_ylabel()) == ("w", "b")
    assert rendered(figure)


def test_landscape() -> None:
    """The loss is the height; the step that leaves the plane ends at its border, the rest is a gap."""
    path = np.column_stack([PATH, [2.0, 3.0, 4.0]])
    figure = error_surface_3d(X, Y, LOSS, {"free": path})
    ax: Any = figure.axes[0]
    drawn = np.column_stack([np.asarray(values, float) for values in ax.get_lines()[0].get_data_3d()])
    share = 0.5 / 25.5  # of the step from (0, 4.5) to (9, 30), up to y = 5
    expected = [path[0], path[1], path[1] + share * (path[2] - path[1]), [np.nan] * 3]
    np.testing.assert_allclose(drawn, expected, atol=0.02 * np.ptp(LOSS))
    np.testing.assert_allclose(drawn[2, :2], [9 * share, 5], rtol=1e-12)
    assert ax.get_zlabel() == "loss $L$"
    assert rendered(figure)
    assert not error_surface_3d(X, Y, LOSS).legends


def test_fixed_points() -> None:
    """Kinds by mark, slow ones empty, counted in the legend; trajectories behind."""
    points = np.array([[0.0, 0], [1, 1], [2, 0], [3, 3]])
    kinds = ["saddle", "stable", "stable", "slow saddle"]
    ways = np.random.default_rng(0).normal(size=(3, 6, 2))
    figure = fixed_points_in_plane(points, kinds, ways)
    ax = figure.axes[0]
    lines = ax.get_lines()
    for way, line in zip(ways, lines[:3], strict=True):
        np.testing.assert_array_equal(points_of(line), way)
    stable, saddle, slow = lines[3:]
    np.testing.assert_array_equal(points_of(stable), points[[1, 2]])
    np.testing.assert_array_equal(points_of(slow), points[[3]])
    assert saddle.get_marker() == slow.get_marker() != stable.get_marker()
    assert to_hex(str(slow.get_markerfacecolor())) == "#ffffff"
    assert legend_of(figure) == ["trajectories", "stable (2)", "saddle (1)", "slow saddle (1)"]
    assert rendered(figure)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"expected \[12, 9\]"):
        edge_of_chaos_plane(GAINS, DRIVES, np.zeros((9, 12)), np.ones(9))
    with pytest.raises(ValueError, match=r"expected \[7, 5\]"):
        error_surface_3d(X, Y, LOSS.T)
    with pytest.raises(ValueError, match="4 points and 1 kinds"):
        fixed_points_in_plane(np.zeros((4, 2)), ["stable"])
    with pytest.raises(ValueError, match="unknown kinds"):
        fixed_points_in_plane(np.zeros((1, 2)), ["wobbly"])
    with pytest.raises(ValueError, match="no gradient norms"):
        gradient_beside_theory({}, {})
