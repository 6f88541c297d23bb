"""Forecasts from the command line and their baselines, beside loops."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import Lorenz, MackeyGlass
from experiments.harness.files import read_arrays
from experiments.series.autoregression import (
    best_autoregression,
    filled,
    fit_autoregression,
    iterate,
    one_step,
)
from experiments.series.flows import leading_exponent
from tests.experiments.command import command, newest_checkpoint, untimed
from tests.experiments.conftest import alone

SMALL = ("--hidden-size", 6, "--batch-size", 8, "--length", 12, "--horizon", 5, "--starts", 4, "--samples", 6)
SMALL += ("--steps", 20, "--eval-every", 10, "--save-every", 10, "--chunk", 10, "--optimizer.warmup-steps", 2)


def test_autoregression_recovers_its_own_process() -> None:
    """Coefficients of a process of order two in two dimensions; forecasts as in a loop."""
    rng = np.random.default_rng(0)
    first, second = np.array([[0.5, 0.2], [-0.3, 0.4]]), np.array([[0.1, 0.0], [0.2, -0.2]])
    x = np.zeros((4000, 2))
    for t in range(2, len(x)):
        x[t] = [1, -1] + x[t - 1] @ first + x[t - 2] @ second + 0.1 * rng.normal(size=2)
    scored = np.arange(len(x)) > 100
    model = fit_autoregression(x, scored, 3000, 2)
    np.testing.assert_allclose(model.kernel, np.concatenate([[[1, -1]], first, second]), atol=0.06)
    assert best_autoregression(x, scored, (3000, 3500)).order > 1
    at = np.array([7, 30])
    loop = [model.kernel[0] + x[t - 1] @ model.kernel[1:3] + x[t - 2] @ model.kernel[3:] for t in at]
    np.testing.assert_allclose(one_step(x, at, model), loop)
    run = iterate(x[None, 5:7], 3, model)
    past = list(x[5:7])
    for step in range(3):
        past.append(model.kernel[0] + past[-1] @ model.kernel[1:3] + past[-2] @ model.kernel[3:])
        np.testing.assert_allclose(run[0, step], past[-1])


def test_gaps_are_filled_with_the_value_before() -> None:
    nan = np.nan
    values = np.array([[nan, 1], [2, nan], [nan, nan], [4, 5]])
    np.testing.assert_array_equal(filled(values), [[2, 1], [2, 1], [2, 1], [4, 5]])


@pytest.mark.slow
def test_exponents_are_those_of_the_literature() -> None:
    """Lorenz: 0.9056 a unit of time (Sprott 2003). Mackey and Glass at τ = 17: between 0.0050 and 0.0071 (Farmer
    1982 and later)."""
    system = Lorenz()
    rate, deviation = leading_exponent(system, 4000)
    assert abs(rate / system.interval - 0.9056) < 3 * deviation / system.interval + 0.01
    delayed = MackeyGlass()
    rate, deviation = leading_exponent(delayed, 4000)
    assert 0.0045 < rate / delayed.interval < 0.0075


@pytest.fixture(scope="session")
def csv(shared: Path) -> Path:
    """A noisy wave with gaps and missing days, and its cosine."""
    with alone(shared, "csv"):
        path = shared / "waves.csv"
        rng = np.random.default_rng(0)
        lines = ["day,wave,other"]
        for day in range(300):
            if day % 50 == 17:
                continue
            wave = "" if day % 60 == 5 else f"{np.sin(day / 3) + 0.1 * rng.normal():.4f}"
            lines.append(f"{day},{wave},{10 + 3 * np.cos(day / 3):.4f}")
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def options(csv: Path) -> tuple[Any, ...]:
    return ("forecast", "--data.file", csv, "--data.columns", "wave", "other", "--data.time", "day", *SMALL)


@pytest.fixture(scope="session")
def run(shared: Path, options: tuple[Any, ...]) -> Path:
    """A finished run on the file; to be read only."""
    with alone(shared, "forecast") as folder:
        if not (folder / "results.json").exists():
            assert command(*options, "--devices", 1, "--run-dir", folder) == 0
    return folder


def test_what_a_run_leaves(run: Path) -> None:
    """Errors of the net and of both baselines over the same targets; figures drawn again from arrays."""
    (found,) = [v for k, v in json.loads((run / "results.json").read_text()).items() if k == "waves"]
    assert found["exponent"] == [None, None]
    arrays = read_arrays(run, "nets/waves")
    values = arrays["shown|truth"].astype(np.float64)
    assert np.isnan(values[:, 0]).any()
    assert np.isfinite(values).all(axis=1).sum() > 40
    present = np.asarray(np.isfinite(values).all(axis=1))
    scored = (
        present[1:] & present[:-1]
    )  # all but the first target, whose value before is of the validation part
    differences = (values[1:] - values[:-1])[scored]
    np.testing.assert_allclose(found["one_step"]["persistence"], np.sqrt(np.mean(differences**2)), rtol=0.05)
    assert found["one_step"]["autoregression"] < 0.5 * found["one_step"]["persistence"]
    low, high = found["within"]
    assert 0 <= low <= high <= 1
    assert arrays["run|quantiles"].shape == (5, 5, 2)
    assert (np.diff(arrays["run|quantiles"], axis=0) >= 0).all()
    assert (np.diff(arrays["shown|quantiles"], axis=0) >= 0).all()
    table = (run / "table.txt").read_text()
    assert "Lyapunov" not in table
    assert f"{found['one_step']['net']:.4f}" in table
    for path in (run / "figures").glob("*.png"):
        path.unlink()
    assert command("inspect", run) == 0
    drawn = {path.stem for path in (run / "figures").glob("*.png")}
    assert drawn == {"error_against_horizon", "one_step", "free_running"}


@pytest.mark.full
def test_resumed_is_as_whole(run: Path, options: tuple[Any, ...], tmp_path: Path) -> None:
    part = shutil.copytree(run, tmp_path / "part")
    shutil.rmtree(part / "nets" / "waves" / "checkpoints" / "20")
    (part / "arrays" / "nets" / "waves.npz").unlink()
    (part / "results.json").unlink()
    assert command(*options, "--resume", part) == 0
    assert newest_checkpoint(part / "nets/waves") == newest_checkpoint(run / "nets/waves")
    assert untimed(part / "nets/waves") == untimed(run / "nets/waves")
    assert (part / "table.txt").read_text() == (run / "table.txt").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--data.columns", "height"), "has no column 'height': it has day, wave, other"),
        (("--horizon", 60), "--horizon 60 must be less than the 60 values of the test part"),
        (("--direction", "both"), "--direction both reads the future"),
        (("--cell", "batch_norm_lstm"), "--cell batch_norm_lstm couples the sequences of a batch"),
        (("--length", 400), "too few for a sequence of 400"),
        (("--components", 0), "--components must be a whole number of at least 1"),
    ],
)
def test_refused(given: tuple, said: str, options: tuple[Any, ...], refused: Callable[..., None]) -> None:
    refused(said, *options, *given)


@pytest.mark.full
def test_a_net_beats_persistence_and_autoregression(tmp_path: Path) -> None:
    """Lorenz's system, by a small net in a short training."""
    folder = tmp_path / "run"
    options = (
        "--series",
        "lorenz",
        "--hidden-size",
        32,
        "--steps",
        400,
        "--eval-every",
        200,
        "--save-every",
        200,
    )
    assert command("forecast", *options, "--starts", 10, "--run-dir", folder) == 0
    found = json.loads((folder / "results.json").read_text())["lorenz"]
    errors, useful = found["one_step"], found["useful_steps"]
    assert errors["net"] < errors["autoregression"] / 2 < errors["persistence"] / 3
    assert useful["net"] > 3 * useful["autoregression"]
    assert 0.08 < found["exponent"][0] < 0.1
