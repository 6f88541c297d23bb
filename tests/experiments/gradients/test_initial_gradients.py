"""Initial gradients: slopes against a loop, and what a small run leaves."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from analysis import log_slope
from experiments.gradients.initial_gradients import slope
from models import Elman
from tests.experiments.command import command


def test_slope_against_a_loop() -> None:
    """ln ‖∂L/∂h_{T−k}‖ of a linear net is that of R^k u: the slope again by NumPy."""
    cell = Elman(3, activation="identity")
    params, _, outputs = jax.random.split(jax.random.key(7), 3)
    matrix = np.asarray(cell.init(params, 8)["recurrent"], np.float64)
    vectors = np.asarray(jax.random.normal(outputs, (16, 3)), np.float64)
    norms = []
    for _ in range(9):
        vectors = vectors @ matrix.T
        norms.append(np.median(np.linalg.norm(vectors, axis=1)))
    assert slope(cell, 9, 7) == pytest.approx(log_slope(np.array(norms)), abs=1e-5)


@pytest.mark.full  # it compiles six gradients
def test_what_a_run_leaves(tmp_path: Path) -> None:
    """The results list the slope of every seed; a resumed run measures none again; `inspect` draws the same."""
    small = (
        "initial_gradients",
        "--gains",
        0.5,
        8,
        "--biases",
        1,
        "--hidden-size",
        3,
        "--lags",
        5,
        "--seeds",
        2,
    )
    folder = tmp_path / "run"
    assert command(*small, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    with np.load(folder / "arrays" / "slopes.npz") as arrays:
        for name, values in (("elman", ["0.5", "8"]), ("lstm", ["0.5", "8"]), ("lstm|bias", ["1"])):
            assert [results[name][value]["slopes"] for value in values] == arrays[name].tolist()
        assert results["elman|orthogonal"]["slopes"] == arrays["elman|orthogonal"].tolist()
        assert results["lstm"]["8"]["slope"] == arrays["lstm"][1].mean()
        assert (arrays["elman"][1] > arrays["elman"][0]).all()
    written = {path: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert {path.name for path in written} >= {"against_gain.png", "against_forget_bias.png"}
    kept = (folder / "arrays" / "slopes.npz").stat().st_mtime_ns
    assert command(*small, "--resume", folder) == 0
    assert (folder / "arrays" / "slopes.npz").stat().st_mtime_ns == kept
    assert {path: path.read_bytes() for path in written} == written


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--gains", 2, 1), "--gains must rise"),
        (("--gains", 0, 1), "--gains must be above 0"),
        (("--biases",), "--biases is empty"),
        (("--biases", "nan"), "--biases must be finite"),
        (("--lags", 1), "--lags must be a whole number of at least 2"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_mistakes(given: tuple, said: str, refused: Callable[..., None]) -> None:
    refused(said, "initial_gradients", *given)
