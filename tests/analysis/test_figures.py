"""What the figures draw is what they were given, in one colour a name, at any span and with any gap."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import NDArray

from analysis.figures import (
    eigenvalues_in_plane,
    gradient_against_lag,
    loss_curves,
    save,
    singular_values_against_lag,
    training_curves,
)

Values = NDArray[Any]
K, N, S, T = 40, 9, 6, 12
NAMES = ["elman glorot", "elman orthogonal", "gru", "lstm"]
SEVEN = [*NAMES, "gru(reset=before)", "path/to/mine.py:MyCell(alpha=0.3)", "_costs $3 or $4"]


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _norms(names: list[str], seed: int, shape: tuple[int, ...] = (K,)) -> dict[str, Values]:
    random = np.random.default_rng(seed)
    lags = np.arange(K).reshape(-1, *[1] * (len(shape) - 1))
    return {name: np.exp(-0.4 * i * lags + random.normal(size=shape)) for i, name in enumerate(names)}


def _spectra(names: list[str], shape: tuple[int, ...] = (K, S)) -> dict[str, Values]:
    random = np.random.default_rng(7)
    return {name: np.sort(random.normal(size=shape), -1)[..., ::-1] - i for i, name in enumerate(names)}


def _eigenvalues(names: list[str], shape: tuple[int, ...] = (T, S)) -> dict[str, NDArray[np.complex128]]:
    random = np.random.default_rng(8)
    return {name: random.normal(size=shape) + 1j * random.normal(size=shape) for name in names}


def _curves(names: list[str]) -> dict[str, dict[str, Values]]:
    return {
        name: {"step": np.arange(0, 500, 50), "value": 0.3 / np.arange(1 + i, 11 + i)}
        for i, name in enumerate(names)
    }


def _line(ax: Axes, label: str) -> Line2D:
    (line,) = [line for line in ax.get_lines() if line.get_label() == label]
    return line


def _drawn(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    line = _line(ax, label)
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def _legend_texts(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def _bands(ax: Axes) -> list[Values]:
    return [
        np.asarray(each.get_paths()[0].vertices)
        for each in ax.collections
        if isinstance(each, PolyCollection)
    ]


def _everything(names: list[str]) -> dict[str, Figure]:
    return {
        "gradients": gradient_against_lag(_norms(names, 0), _norms(names, 1, (K, N))),
        "spectra": singular_values_against_lag(_spectra(names)),
        "eigenvalues": eigenvalues_in_plane(_eigenvalues(names)),
        "accuracy": training_curves(_curves(names), y_label="accuracy (fraction)", baseline=0.1),
        "loss": loss_curves(_curves(names), y_label="loss (nats)", baseline=0.25),
    }


# What is drawn is what was given


def test_gradient_lines_are_the_norms_against_lags_from_one() -> None:
    before, after = _norms(NAMES, 0), _norms(NAMES, 1)
    panels = gradient_against_lag(before, after).axes
    assert [ax.get_title() for ax in panels] == ["before training", "after training"]
    for ax, given in zip(panels, [before, after], strict=True):
        assert ax.get_yscale() == "log"
        for name in NAMES:
            lags, norms = _drawn(ax, name)
            np.testing.assert_array_equal(lags, np.arange(1, K + 1))
            np.testing.assert_allclose(norms, given[name], rtol=1e-15)
            assert np.all((norms >= ax.get_ylim()[0]) & (norms <= ax.get_ylim()[1]))


def test_examples_are_drawn_as_their_median_and_quartiles() -> None:
    given = _norms(["gru"], 3, (K, N))
    ax = gradient_against_lag(given, given).axes[0]
    np.testing.assert_allclose(_drawn(ax, "gru")[1], np.median(given["gru"], axis=1))
    (band,) = _bands(ax)
    for lag in (1, 7, K):
        heights = band[band[:, 0] == lag, 1]
        quartiles = np.quantile(given["gru"][lag - 1], [0.25, 0.75])
        np.testing.assert_allclose([heights.min(), heights.max()], quartiles)


def test_singular_values_are_their_decimal_logarithms_from_lag_one() -> None:
    given = _spectra(NAMES)
    panels = singular_values_against_lag(given).axes
    assert [ax.get_title() for ax in panels] == NAMES
    for ax, logs in zip(panels, given.values(), strict=True):
        lags, largest = _drawn(ax, "largest")
        np.testing.assert_array_equal(lags, np.arange(1, K + 1))
        np.testing.assert_allclose(largest, logs.max(axis=1) / np.log(10))
        np.testing.assert_allclose(_drawn(ax, "median")[1], np.median(logs, axis=1) / np.log(10))
        wide, narrow = _bands(ax)
        for band, fractions in [(wide, [0, 1]), (narrow, [0.25, 0.75])]:
            heights = band[band[:, 0] == 5, 1] * np.log(10)
            np.testing.assert_allclose([heights.min(), heights.max()], np.quantile(logs[4], fractions))


def test_singular_values_of_examples_are_the_median_example_of_each() -> None:
    given = _spectra(["gru"], (N, K, S))
    (ax,) = singular_values_against_lag(given).axes
    expected = np.median(given["gru"].max(axis=-1), axis=0) / np.log(10)
    np.testing.assert_allclose(_drawn(ax, "largest")[1], expected)


def test_singular_values_beyond_floating_point_keep_their_ticks() -> None:
    logs = np.outer(np.arange(1, 5001), np.full(3, np.log(0.5)))
    figure = singular_values_against_lag({"orthogonal": logs})
    (ax,) = figure.axes
    np.testing.assert_allclose(_drawn(ax, "largest")[1][-1], 5000 * np.log10(0.5))
    figure.draw_without_rendering()
    assert "$10^{-1000}$" in [tick.get_text() for tick in ax.get_yticklabels()]


def test_eigenvalues_are_points_coloured_by_time_around_the_unit_circle() -> None:
    given = _eigenvalues(NAMES)
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
    assert _legend_texts(figure) == ["unit circle, |λ| = 1"]


def test_arrays_of_jax_are_drawn_as_they_are() -> None:
    norms = jnp.asarray([1.0, 0.5, 0.0], jnp.bfloat16)
    left, _ = gradient_against_lag({"gru": norms}, {"gru": jnp.ones((3, N))}).axes
    np.testing.assert_array_equal(_drawn(left, "gru")[1], [1.0, 0.5, np.nan])
    (ax,) = singular_values_against_lag({"gru": jnp.zeros((K, S))}).axes
    np.testing.assert_array_equal(_drawn(ax, "largest")[1], np.zeros(K))
    (ax,) = eigenvalues_in_plane({"gru": jnp.asarray([0.5 + 0.5j, -1.0])}).axes
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_offsets()), [[0.5, 0.5], [-1, 0]])


def test_eigenvalues_of_one_step_have_no_colour_bar() -> None:
    figure = eigenvalues_in_plane(_eigenvalues(["gru"], (S,)))
    (ax,) = figure.axes
    assert np.asarray(ax.collections[0].get_offsets()).shape == (S, 2)


@pytest.mark.parametrize(("draw", "scale"), [(training_curves, "linear"), (loss_curves, "log")])
def test_training_curves_are_the_logged_points_and_the_baseline(draw, scale: str) -> None:
    given = _curves(NAMES)
    figure = draw(given, y_label="mean square error", baseline=1 / 6, baseline_label="always the mean")
    (ax,) = figure.axes
    assert (ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == (
        scale,
        "training step",
        "mean square error",
    )
    for name in NAMES:
        steps, values = _drawn(ax, name)
        np.testing.assert_array_equal(steps, given[name]["step"])
        np.testing.assert_array_equal(values, given[name]["value"])
    np.testing.assert_allclose(_drawn(ax, "always the mean")[1], 1 / 6)
    assert _line(ax, "always the mean").get_linestyle() == "--"
    assert _legend_texts(figure) == [*NAMES, "always the mean"]


# Names, colours, labels


def test_a_name_has_one_colour_everywhere_and_no_other_name_has_it() -> None:
    figures = [
        gradient_against_lag(_norms(SEVEN, 0), _norms(SEVEN, 1)),
        training_curves(_curves(SEVEN), y_label="y"),
    ]
    spectra = singular_values_against_lag(_spectra(SEVEN)).axes
    colours = []
    for name, panel in zip(SEVEN, spectra, strict=True):
        lines = [_line(ax, name) for figure in figures for ax in figure.axes] + [_line(panel, "largest")]
        (colour,) = {to_hex(line.get_color()) for line in lines}
        colours.append(colour)
    assert len(set(colours)) == len(SEVEN)


def test_lines_differ_in_grey_too() -> None:
    figure = training_curves(_curves([f"cell {i}" for i in range(12)]), y_label="y")
    lines = figure.axes[0].get_lines()
    dashes = [str(line._dash_pattern) for line in lines]  # type: ignore[attr-defined]
    assert len(set(dashes[:8])) == 8
    assert len({(line.get_color(), dash) for line, dash in zip(lines, dashes, strict=True)}) == 12


def test_a_name_in_one_panel_only_keeps_its_colour() -> None:
    before, after = _norms(["elman", "gru"], 0), _norms(["lstm", "gru"], 1)
    left, right = gradient_against_lag(before, after).axes
    assert (
        _line(left, "gru").get_color() == _line(right, "gru").get_color() != _line(right, "lstm").get_color()
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
    for kind, figure in _everything(names).items():
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
    figure = gradient_against_lag(_norms(SEVEN, 0), _norms(SEVEN, 1))
    assert _legend_texts(figure) == [name.replace("$", r"\$") for name in SEVEN]


# Gaps, spans, faults


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_what_a_log_axis_cannot_show_is_a_gap(bad: float, tmp_path: Path) -> None:
    norms = np.exp(-np.arange(K, dtype=float))
    norms[[5, 7, *range(20, K)]] = bad
    figure = gradient_against_lag({"elman": norms}, {"elman": np.full((K, N), bad)})
    left, right = figure.axes
    shown = np.isfinite(norms) & (norms > 0)
    np.testing.assert_array_equal(np.isfinite(_drawn(left, "elman")[1]), shown)
    assert _line(left, "elman").get_markevery() == [6]  # alone between two gaps
    assert not np.isfinite(_drawn(right, "elman")[1]).any()
    save(figure, tmp_path, "gaps")
    save(
        loss_curves({"elman": {"step": np.arange(K), "value": norms}}, y_label="loss (nats)"),
        tmp_path,
        "loss",
    )


def test_singular_values_of_zero_are_a_gap_and_a_band_to_the_foot(tmp_path: Path) -> None:
    logs = _spectra(["gru"])["gru"].copy()
    logs[10:, -1] = -np.inf
    logs[20:] = -np.inf
    figure = singular_values_against_lag({"gru": logs, "nothing": np.full((K, S), -np.inf)})
    ax = figure.axes[0]
    assert np.isfinite(_drawn(ax, "largest")[1]).tolist() == [lag < 20 for lag in range(K)]
    wide = _bands(ax)[0]
    assert wide[wide[:, 0] == 15, 1].min() == ax.get_ylim()[0]
    assert wide[:, 0].max() == 20
    save(figure, tmp_path, "zeros")


def test_eigenvalues_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    values = _eigenvalues(["gru"])["gru"]
    values[3, 2], values[4, 1] = np.nan, np.inf
    figure = eigenvalues_in_plane({"gru": values, "nothing": np.full((T, S), np.nan + 0j)})
    assert np.asarray(figure.axes[0].collections[0].get_offsets()).shape == (T * S - 2, 2)
    save(figure, tmp_path, "points")


@pytest.mark.parametrize("decades", [0, 1, 3, 30, 320, 600])
def test_ticks_stay_few_and_inside_at_any_span(decades: int) -> None:
    norms = 10.0 ** np.linspace(min(decades, 300), min(decades, 300) - decades, K)
    figure = gradient_against_lag({"elman": norms}, {"elman": norms})
    figure.draw_without_rendering()
    axis = figure.axes[0].yaxis
    low, high = figure.axes[0].get_ylim()
    inside = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
    labels = [label.get_text() for label in axis.get_ticklabels()]
    assert 2 <= len(inside) <= 8
    assert len(set(labels)) == len(labels)
    assert all("10^{" in label for label in labels)


def test_one_lag_one_state_one_step_are_enough(tmp_path: Path) -> None:
    save(gradient_against_lag({"x": [1.0]}, {"x": [[1e-300]]}), tmp_path, "gradient")
    save(singular_values_against_lag({"x": [[0.0]]}), tmp_path, "spectrum")
    save(eigenvalues_in_plane({"x": [[1.0]]}), tmp_path, "eigenvalue")
    save(training_curves({"x": {"step": [0], "value": [1.0]}}, y_label="y"), tmp_path, "curve")


def test_nothing_to_draw_is_said() -> None:
    some = _norms(["gru"], 0)
    with pytest.raises(ValueError, match="no gradient norms after training to draw: the mapping is empty"):
        gradient_against_lag(some, {})
    with pytest.raises(ValueError, match="no gradient norms before training to draw"):
        gradient_against_lag({}, some)
    with pytest.raises(ValueError, match="no singular values to draw"):
        singular_values_against_lag({})
    with pytest.raises(ValueError, match="no eigenvalues to draw"):
        eigenvalues_in_plane({})
    for draw in (training_curves, loss_curves):
        with pytest.raises(ValueError, match="no training curves to draw"):
            draw({}, y_label="loss")


def test_a_wrong_shape_is_named() -> None:
    good = _norms(["gru"], 0)
    with pytest.raises(
        ValueError, match=r"norms of 'gru' after training have shape \[2, 3, 4\]; expected \[K\] or \[K, N\]"
    ):
        gradient_against_lag(good, {"gru": np.ones((2, 3, 4))})
    with pytest.raises(ValueError, match=r"shape \[0\]: there is nothing to draw"):
        gradient_against_lag({"gru": []}, good)
    with pytest.raises(ValueError, match=r"'gru' have shape \[5\]; expected \[K, S\] or \[N, K, S\]"):
        singular_values_against_lag({"gru": np.ones(5)})
    with pytest.raises(ValueError, match=r"'gru' have shape \[\]; expected \[S\] or \[T, S\]"):
        eigenvalues_in_plane({"gru": 1j})
    with pytest.raises(ValueError, match=r"values of curve 'gru' have shape \[3, 1\]; expected \[n\]"):
        loss_curves({"gru": {"step": [1, 2, 3], "value": np.ones((3, 1))}}, y_label="loss")
    with pytest.raises(ValueError, match="curve 'gru' has 3 steps and 2 values"):
        training_curves({"gru": {"step": [1, 2, 3], "value": [1, 2]}}, y_label="loss")
    with pytest.raises(ValueError, match=r"curve 'gru' has \['values'\]; expected 'step' and 'value'"):
        training_curves({"gru": {"values": [1]}}, y_label="loss")


# Files


def test_save_writes_both_files_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 20, "axes.grid": False, "savefig.facecolor": "red"}):
        elsewhere = _everything(NAMES)
        others = {kind: save(figure, tmp_path / "elsewhere", kind) for kind, figure in elsewhere.items()}
    for kind, figure in _everything(NAMES).items():
        first = save(figure, tmp_path / "deep" / "first", kind)
        again = save(figure, tmp_path / "again", kind)
        assert [path.name for path in first] == [f"{kind}.png", f"{kind}.pdf"]
        assert first[0].read_bytes().startswith(b"\x89PNG")
        assert first[1].read_bytes().startswith(b"%PDF")
        for one, two, three in zip(first, again, others[kind], strict=True):
            assert one.read_bytes() == two.read_bytes() == three.read_bytes(), one.name


def test_drawing_needs_no_pyplot_and_leaves_the_settings_alone() -> None:
    script = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams)\n"
        "from analysis import figures\n"
        "figures.gradient_against_lag({'a': [1, 2]}, {'a': [1, 2]})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict(matplotlib.rcParams) == before"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
