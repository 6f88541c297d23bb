"""Figures at any span and with any gap, what they refuse, and their files."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from analysis.figures.curves import loss_curves, training_curves
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
    line_of,
    points_of,
    some_eigenvalues,
    some_norms,
    some_spectra,
)

# Gaps, spans, faults


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_what_a_log_axis_cannot_show_is_a_gap(bad: float, tmp_path: Path) -> None:
    norms = np.exp(-np.arange(K, dtype=float))
    norms[[5, 7, *range(20, K)]] = bad
    figure = gradient_against_lag({"elman": norms}, {"elman": np.full((K, N), bad)})
    left, right = figure.axes
    shown = np.isfinite(norms) & (norms > 0)
    np.testing.assert_array_equal(np.isfinite(points_of(left, "elman")[1]), shown)
    assert line_of(left, "elman").get_markevery() == [6]  # alone between two gaps
    assert not np.isfinite(points_of(right, "elman")[1]).any()
    save(figure, tmp_path, "gaps")
    save(
        loss_curves({"elman": {"step": np.arange(K), "value": norms}}, y_label="loss (nats)"),
        tmp_path,
        "loss",
    )


def test_singular_values_of_zero_are_a_gap_and_a_band_to_the_foot(tmp_path: Path) -> None:
    logs = some_spectra(["gru"])["gru"].copy()
    logs[10:, -1] = -np.inf
    logs[20:] = -np.inf
    figure = singular_values_against_lag({"gru": logs, "nothing": np.full((K, S), -np.inf)})
    ax = figure.axes[0]
    assert np.isfinite(points_of(ax, "largest")[1]).tolist() == [lag < 20 for lag in range(K)]
    wide = bands_of(ax)[0]
    assert wide[wide[:, 0] == 15, 1].min() == ax.get_ylim()[0]
    assert wide[:, 0].max() == 20
    save(figure, tmp_path, "zeros")


def test_eigenvalues_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    values = some_eigenvalues(["gru"])["gru"]
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
    some = some_norms(["gru"], 0)
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
    good = some_norms(["gru"], 0)
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


@pytest.mark.slow
def test_save_writes_both_files_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 20, "axes.grid": False, "savefig.facecolor": "red"}):
        elsewhere = every_figure(NAMES)
        others = {kind: save(figure, tmp_path / "elsewhere", kind) for kind, figure in elsewhere.items()}
    for kind, figure in every_figure(NAMES).items():
        first = save(figure, tmp_path / "deep" / "first", kind)
        assert [path.name for path in first] == [f"{kind}.png", f"{kind}.pdf"]
        assert first[0].read_bytes().startswith(b"\x89PNG")
        assert first[1].read_bytes().startswith(b"%PDF")
        for one, other in zip(first, others[kind], strict=True):
            assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.slow
def test_drawing_needs_no_pyplot_and_leaves_the_settings_alone() -> None:
    script = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams)\n"
        "from analysis.figures import gradients\n"
        "gradients.gradient_against_lag({'a': [1, 2]}, {'a': [1, 2]})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert dict(matplotlib.rcParams) == before"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
