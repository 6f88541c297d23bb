"""Figures draw what they were given, in one colour a name."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Circle

from analysis.figures.curves import loss_curves, training_curves
from analysis.figures.exponents import exponents_before_and_after
from analysis.figures.gradients import eigenvalues_in_plane, gradient_against_lag, singular_values_against_lag
from analysis.figures.style import save
from tests.analysis.figures.parts import (
    NAMES,
    K,
    N,
    S,
    T,
    bands_of,
    every_figure,
    legend_texts,
    line_of,
    points_of,
    some_curves,
    some_eigenvalues,
    some_norms,
    some_spectra,
)

SEVEN = [*NAMES, "gru(reset=before)", "path/to/mine.py:MyCell(alpha=0.3)", "_costs $3 or $4"]


# What is drawn is what was given


def test_gradient_lines_are_the_norms_against_lags_from_one() -> None:
    before, after = some_norms(NAMES, 0), some_norms(NAMES, 1)
    panels = gradient_against_lag(before, after).axes
    assert [ax.get_title() for ax in panels] == ["before training", "after training"]
    for ax, given in zip(panels, [before, after], strict=True):
        assert ax.get_yscale() == "log"
        for name in NAMES:
            lags, norms = points_of(ax, name)
            np.testing.assert_array_equal(lags, np.arange(1, K + 1))
            np.testing.assert_allclose(norms, given[name], rtol=1e-15)
            assert np.all((norms >= ax.get_ylim()[0]) & (norms <= ax.get_ylim()[1]))


def test_examples_are_drawn_as_their_median_and_quartiles() -> None:
    given = some_norms(["gru"], 3, (K, N))
    ax = gradient_against_lag(given, given).axes[0]
    np.testing.assert_allclose(points_of(ax, "gru")[1], np.median(given["gru"], axis=1))
    (band,) = bands_of(ax)
    for lag in (1, 7, K):
        heights = band[band[:, 0] == lag, 1]
        quartiles = np.quantile(given["gru"][lag - 1], [0.25, 0.75])
        np.testing.assert_allclose([heights.min(), heights.max()], quartiles)


def test_singular_values_are_their_decimal_logarithms_from_lag_one() -> None:
    given = some_spectra(NAMES)
    panels = singular_values_against_lag(given).axes
    assert [ax.get_title() for ax in panels] == NAMES
    for ax, logs in zip(panels, given.values(), strict=True):
        lags, largest = points_of(ax, "largest")
        np.testing.assert_array_equal(lags, np.arange(1, K + 1))
        np.testing.assert_allclose(largest, logs.max(axis=1) / np.log(10))
        np.testing.assert_allclose(points_of(ax, "median")[1], np.median(logs, axis=1) / np.log(10))
        wide, narrow = bands_of(ax)
        for band, fractions in [(wide, [0, 1]), (narrow, [0.25, 0.75])]:
            heights = band[band[:, 0] == 5, 1] * np.log(10)
            np.testing.assert_allclose([heights.min(), heights.max()], np.quantile(logs[4], fractions))


def test_singular_values_of_examples_are_the_median_example_of_each() -> None:
    given = some_spectra(["gru"], (N, K, S))
    (ax,) = singular_values_against_lag(given).axes
    expected = np.median(given["gru"].max(axis=-1), axis=0) / np.log(10)
    np.testing.assert_allclose(points_of(ax, "largest")[1], expected)


def test_singular_values_beyond_floating_point_keep_their_ticks() -> None:
    logs = np.outer(np.arange(1, 5001), np.full(3, np.log(0.5)))
    figure = singular_values_against_lag({"orthogonal": logs})
    (ax,) = figure.axes
    np.testing.assert_allclose(points_of(ax, "largest")[1][-1], 5000 * np.log10(0.5))
    figure.draw_without_rendering()
    assert "$10^{-1000}$" in [tick.get_text() for tick in ax.get_yticklabels()]


def test_eigenvalues_are_points_coloured_by_time_around_the_unit_circle() -> None:
    given = some_eigenvalues(NAMES)
    figure = eigenvalues_in_plane(given)
    *panels, bar = figure.axes
    assert bar.get_ylabel() == "time (step)"
    for ax, values in zip(panels, given.values(), strict=True):
        (points,) = [each for each in ax.collections if isinstance(each, PathCollection)]
        np.testing.assert_array_equal(
            points.get_offsets(), np.stack([values.real, values.imag], -1).reshape(-1, 2)
        )
        colours = np.asarray(points.get_facecolor()).reshape(T, S, 4)
        assert (colours == colours[:, :1]).all()  # one colour a step …
        assert len(np.unique(colours[:, 0], axis=0)) == T  # … and another at every step
        (circle,) = [patch for patch in ax.patches if isinstance(patch, Circle)]
        assert (circle.get_center(), circle.get_radius()) == ((0, 0), 1)
        assert ax.get_aspect() == 1
        assert ax.get_xlim() == ax.get_ylim()
        assert ax.get_xlim()[1] > max(1, np.abs(values.real).max(), np.abs(values.imag).max())
    assert legend_texts(figure) == ["unit circle, |λ| = 1"]


def test_arrays_of_jax_are_drawn_as_they_are() -> None:
    norms = jnp.asarray([1.0, 0.5, 0.0], jnp.bfloat16)
    left, _ = gradient_against_lag({"gru": norms}, {"gru": jnp.ones((3, N))}).axes
    np.testing.assert_array_equal(points_of(left, "gru")[1], [1.0, 0.5, np.nan])
    (ax,) = singular_values_against_lag({"gru": jnp.zeros((K, S))}).axes
    np.testing.assert_array_equal(points_of(ax, "largest")[1], np.zeros(K))
    (ax,) = eigenvalues_in_plane({"gru": jnp.asarray([0.5 + 0.5j, -1.0])}).axes
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_offsets()), [[0.5, 0.5], [-1, 0]])


def test_eigenvalues_of_one_step_have_no_colour_bar() -> None:
    figure = eigenvalues_in_plane(some_eigenvalues(["gru"], (S,)))
    (ax,) = figure.axes
    assert np.asarray(ax.collections[0].get_offsets()).shape == (S, 2)


@pytest.mark.parametrize(("draw", "scale"), [(training_curves, "linear"), (loss_curves, "log")])
def test_training_curves_are_the_logged_points_and_the_baseline(draw, scale: str) -> None:
    given = some_curves(NAMES)
    figure = draw(given, y_label="mean square error", baseline=1 / 6, baseline_label="always the mean")
    (ax,) = figure.axes
    assert (ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == (
        scale,
        "training step",
        "mean square error",
    )
    for name in NAMES:
        steps, values = points_of(ax, name)
        np.testing.assert_array_equal(steps, given[name]["step"])
        np.testing.assert_array_equal(values, given[name]["value"])
    np.testing.assert_allclose(points_of(ax, "always the mean")[1], 1 / 6)
    assert line_of(ax, "always the mean").get_linestyle() == "--"
    assert legend_texts(figure) == [*NAMES, "always the mean"]


# Names, colours, labels


def test_a_name_has_one_colour_everywhere_and_no_other_name_has_it() -> None:
    figures = [
        gradient_against_lag(some_norms(SEVEN, 0), some_norms(SEVEN, 1)),
        training_curves(some_curves(SEVEN), y_label="y"),
    ]
    spectra = singular_values_against_lag(some_spectra(SEVEN)).axes
    colours = []
    for name, panel in zip(SEVEN, spectra, strict=True):
        lines = [line_of(ax, name) for figure in figures for ax in figure.axes] + [line_of(panel, "largest")]
        (colour,) = {to_hex(line.get_color()) for line in lines}
        colours.append(colour)
    assert len(set(colours)) == len(SEVEN)


def test_lines_differ_in_grey_too() -> None:
    figure = training_curves(some_curves([f"cell {i}" for i in range(12)]), y_label="y")
    lines = figure.axes[0].get_lines()
    dashes = [str(line._dash_pattern) for line in lines]  # type: ignore[attr-defined]
    assert len(set(dashes[:8])) == 8
    assert len({(line.get_color(), dash) for line, dash in zip(lines, dashes, strict=True)}) == 12


def test_a_name_in_one_panel_only_keeps_its_colour() -> None:
    before, after = some_norms(["elman", "gru"], 0), some_norms(["lstm", "gru"], 1)
    left, right = gradient_against_lag(before, after).axes
    assert (
        line_of(left, "gru").get_color()
        == line_of(right, "gru").get_color()
        != line_of(right, "lstm").get_color()
    )


@pytest.mark.parametrize("names", [["gru"], NAMES, SEVEN], ids=["one", "four", "seven"])
def test_axes_are_named_with_units_and_nothing_is_clipped(names: list[str]) -> None:
    words = {
        "gradients": ("steps back from the loss", "gradient norm"),
        "spectra": ("lag $k$ (steps)", "singular value"),
        "eigenvalues": ("real part", "imaginary part"),
        "accuracy": ("training step", "accuracy (fraction)"),
        "loss": ("training step", "loss (nats)"),
    }
    for kind, figure in every_figure(names).items():
        x, y = words[kind]
        assert x in "".join(ax.get_xlabel() for ax in figure.axes), kind
        assert y in figure.axes[0].get_ylabel(), kind
        figure.draw_without_rendering()
        inside = figure.get_tightbbox()  # inches
        assert inside.x0 >= -0.01, kind
        assert inside.y0 >= -0.01, kind
        assert inside.x1 <= figure.get_figwidth() + 0.01, kind
        assert inside.y1 <= figure.get_figheight() + 0.01, kind


def test_a_name_is_never_mathematics_and_never_hidden() -> None:
    figure = gradient_against_lag(some_norms(SEVEN, 0), some_norms(SEVEN, 1))
    assert legend_texts(figure) == [name.replace("$", r"\$") for name in SEVEN]


def test_one_state_of_training_is_one_panel() -> None:
    norms = some_norms(NAMES, 0)
    (ax,) = gradient_against_lag(norms).axes
    assert ax.get_title() == ""
    np.testing.assert_allclose(points_of(ax, "gru")[1], norms["gru"])
    (ax,) = exponents_before_and_after({"gru": np.array([0.1, -0.4, -1.0])}).axes
    np.testing.assert_allclose(points_of(ax, "gru"), [[1 / 3, 2 / 3, 1], [0.1, -0.4, -1.0]])


def test_a_figure_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    """As PNG of the size that the notebook shows; what is saved then has the same bytes as without."""
    figures = [eigenvalues_in_plane(some_eigenvalues(["gru"])) for _ in range(2)]
    picture, shown = figures[0]._repr_png_()
    assert picture.startswith(b"\x89PNG")
    width, height = (int.from_bytes(picture[i : i + 4]) for i in (16, 20))
    np.testing.assert_allclose([width / shown["width"], height / shown["height"]], 1.5, rtol=0.01)
    files = [save(figure, str(tmp_path / str(i)), "eigenvalues") for i, figure in enumerate(figures)]
    assert files[0][0].read_bytes() == files[1][0].read_bytes()
