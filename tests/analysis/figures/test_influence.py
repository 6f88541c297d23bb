"""Figures of influence: lines, theory and gaps are where they were given."""

import numpy as np

from analysis.figures.influence import EXPONENTIAL, gradient_by_distance, influence_by_path
from tests.analysis.figures.parts import bands_of, legend_of, points_of, rendered

K, N = 12, 5
LAGS = np.arange(K)


def paths(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found = {name: random.uniform(0.5, 1, (K, N)) for name in ("total", "recurrence", "attention", "mixed")}
    found["recurrence"] *= np.exp(-0.4 * LAGS)[:, None]
    found["mixed"][:2] = 0
    return found


def test_paths_and_theory() -> None:
    panels = {"copy, before training": paths(0), "copy, after training": paths(1)}
    figure = influence_by_path(panels, {"copy, before training": -0.5})
    assert [ax.get_title().replace("\n", " ") for ax in figure.axes] == list(panels)
    for ax, found in zip(figure.axes, panels.values(), strict=True):
        for name, norms in found.items():
            lags, drawn = points_of(ax, name)
            np.testing.assert_array_equal(lags, LAGS)
            shown = slice(2, None) if name == "mixed" else slice(None)
            np.testing.assert_allclose(drawn[shown], np.median(norms, axis=1)[shown])
            assert np.isnan(drawn[:2]).all() == (name == "mixed")
        assert len(bands_of(ax)) == 1
    first = panels["copy, before training"]
    lags, theory = points_of(figure.axes[0], EXPONENTIAL)
    np.testing.assert_allclose(theory, np.median(first["recurrence"][1]) * np.exp(-0.5 * (lags - 1)))
    (harmonic,) = [line for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    np.testing.assert_allclose(
        np.asarray(harmonic.get_ydata(), float), np.median(first["total"][1]) / LAGS[1:]
    )
    assert not [line for line in figure.axes[1].get_lines() if line.get_label() == EXPONENTIAL]
    assert {"total", "recurrence", "attention", "mixed", "quartiles of the total"} <= set(legend_of(figure))
    assert rendered(figure) > 5000


def test_gradient_by_distance() -> None:
    """A net whose gradient is exactly zero from some distance on has a gap there."""
    before, after = {"lstm": paths(2)["total"]}, {"lstm": np.where(LAGS < 5, 1e-3, 0.0)}
    figure = gradient_by_distance(before, after)
    np.testing.assert_allclose(points_of(figure.axes[0], "lstm")[1], np.median(before["lstm"], axis=1))
    drawn = points_of(figure.axes[1], "lstm")[1]
    np.testing.assert_array_equal(drawn[:5], 1e-3)
    assert np.isnan(drawn[5:]).all()
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert rendered(figure) > 5000
