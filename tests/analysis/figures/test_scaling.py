"""The figure of loss against time and size: points and law are where they were given."""

import numpy as np

from analysis.figures.scaling import loss_against_size_and_time
from tests.analysis.figures.parts import legend_of, points_of, rendered


def test_curves_points_and_law() -> None:
    curves = {
        name: {"minutes": np.array([0.0, 1, 2]) * rate, "cross_entropy": np.array([4, 3, 2]) - rate / 4}
        for name, rate in (("small", 1.0), ("large", 2.0))
    }
    reached, parameters = {"small": 1.7, "large": 1.4}, {"small": 1e4, "large": 1e6}
    figure = loss_against_size_and_time(curves, reached, parameters, law=(4.0, 0.1))
    left, right = figure.axes
    for name, curve in curves.items():
        minutes, losses = points_of(left, name)
        np.testing.assert_array_equal(
            minutes, curve["minutes"][1:]
        )  # none at zero minutes, on a logarithmic axis
        np.testing.assert_array_equal(losses, curve["cross_entropy"][1:])
    dots = [line.get_xydata() for line in right.get_lines() if line.get_marker() == "o"]
    np.testing.assert_array_equal(np.concatenate(dots), [[1e4, 1.7], [1e6, 1.4]])
    (law,) = [line for line in right.get_lines() if line.get_linestyle() == "--"]
    np.testing.assert_allclose(np.asarray(law.get_ydata(), float), [4 * 1e4**-0.1, 4 * 1e6**-0.1])
    assert {"small", "large"} <= set(legend_of(figure))
    rendered(figure)
