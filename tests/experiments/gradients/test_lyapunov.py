"""Lyapunov: what a run measures against determinants, eigenvalues and a NumPy loop; what a resumed run keeps."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from analysis import tanh_mean_field
from experiments.gradients.comparison import held_out_inputs
from experiments.gradients.lyapunov import Config
from experiments.harness.errors import UserError
from experiments.health import check_health
from models import Elman
from tests.experiments.command import arrays_bytes, command, saved_state
from train import HealthConfig, LoopConfig, OptimizerConfig

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]
NAME = "elman_activation_sigmoid"


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


@pytest.mark.full
def test_random_nets_against_exact_results(finished: Finished) -> None:
    """At rest the exponents are those of the matrix, ln |eigenvalue| the first and ln |det| their sum; driven, near
    the theory."""
    folder = finished("lyapunov")
    random = results(folder)["random"]
    with jax.enable_x64(True):
        j, _, _ = jax.random.split(jax.random.key(0), 3)
        matrix = 0.5 / 40**0.5 * np.asarray(jax.random.normal(j, (40, 40)))
    radius = np.abs(np.linalg.eigvals(matrix)).max()
    silent, driven = random["0"], random["1"]
    assert silent["gain"] == [0.5, 1.5]
    assert silent["first"][0] == pytest.approx(np.log(radius), abs=2e-3)
    assert silent["mean"][0] == pytest.approx(np.linalg.slogdet(matrix)[1] / 40, abs=1e-9)
    assert silent["dimension"][0] == silent["entropy"][0] == 0
    np.testing.assert_allclose(
        driven["first"], tanh_mean_field(np.array([0.5, 1.5]), 1.0).exponent, atol=0.08
    )
    for gap in silent["sum_gap"] + driven["sum_gap"]:
        assert abs(gap) < 1e-9
    table = (folder / "table.txt").read_text().splitlines()
    assert table[0] == "random nets of 40 units, 300 steps counted"
    assert table[2].split()[:3] == ["0", "0.5", f"{silent['first'][0]:+.4f}"]
    assert len([line for line in table if line.startswith("elman activation=sigmoid ")]) == 3


@pytest.mark.slow
def test_trained_spectrum_by_a_loop_in_numpy(finished: Finished, options: Options) -> None:
    """From the checkpoint of the last step: the state and QR of diag(h (1 − h)) R, all in double precision."""
    folder = finished("lyapunov")
    leaves = saved_state(folder / "cells" / NAME, 20)
    kernel, recurrent, bias = (
        np.asarray(leaves[f"params/params/recurrent/cell/{n}"], np.float64)
        for n in ("kernel", "recurrent", "bias")
    )
    along = held_out_inputs(Config(length=10).problem(), 40)
    inputs = np.moveaxis(along, 1, 0).reshape(-1, 2).astype(np.float64)
    h, frame, logs = np.zeros(4), np.eye(4), []
    for x in inputs:
        h = 1 / (1 + np.exp(-(x @ kernel + h @ recurrent + bias)))
        frame, r = np.linalg.qr((h * (1 - h))[:, None] * recurrent.T @ frame)
        logs.append(np.log(np.abs(np.diag(r))))
    expected = np.mean(logs[100:], axis=0)
    with np.load(folder / f"arrays/trained/{NAME}/20.npz") as arrays:
        np.testing.assert_allclose(arrays["driven|exponents"], expected, atol=1e-3)
        assert arrays["silent|exponents"].shape == (4,)
        assert arrays["driven|running"].shape == (30, 4)
        mean, error = (arrays[f"driven|starts|{name}"][0, 0] for name in ("exponents", "standard_errors"))
    found = results(folder)["trained"]["elman activation=sigmoid"]
    assert found["step"] == [0, 10, 20]
    # The mean is over all starts; the loop has the first of them.
    assert found["first"][2] == pytest.approx(mean, rel=1e-12)
    assert expected[0] == pytest.approx(mean, abs=4 * 8**0.5 * error)


@pytest.mark.slow
def test_figures(finished: Finished) -> None:
    drawn = {path.name for path in (finished("lyapunov") / "figures").glob("*.png")}
    names = ("random_nets", "random_spectra", "trained_spectra", "during_training", "running_estimates")
    assert drawn == {f"{name}.png" for name in names}


@pytest.mark.full
def test_resumed_run_ends_the_same(finished: Finished, options: Options, tmp_path: Path) -> None:
    """The last spectrum and one of a random net are missing, the others are there and not touched."""
    folder = shutil.copytree(finished("lyapunov"), tmp_path / "run")
    before, said = arrays_bytes(folder), (folder / "results.json").read_text()
    kept = folder / "arrays/random/noise_0_gain_1.5.npz"
    stamp = kept.stat().st_mtime_ns
    for gone in (
        "results.json", f"arrays/trained/{NAME}/20.npz", "arrays/random/noise_1_gain_0.5.npz"
    ):  # fmt: skip
        (folder / gone).unlink()
    assert command("lyapunov", *options["lyapunov"], "--resume", folder) == 0
    assert kept.stat().st_mtime_ns == stamp
    assert arrays_bytes(folder) == before
    assert (folder / "results.json").read_text() == said


def test_the_warmup_moves_with_the_trajectory() -> None:
    assert (Config().settling, Config(trajectory=400).settling) == (500, 100)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cells"], "--cells names no cell"),
        (["--trajectory", "300", "--warmup", "295"], "--trajectory 300 is too short for --warmup 295"),
        (["--leading", "300"], "--leading 300 is more than the 200 exponents of a random net of --units 200"),
        (["--leading", "9", "--cells", "elman(hidden_size=4)"], "--leading 9 is more than the 4 exponents of"),
        (["--trajectory", "60000"], "9600 held-out sequences are asked for, but there are 1000: give"),
        (["--starts", "4"], "starts must be a whole number of at least 8"),
        (["--gains"], "--gains is empty"),
        (["--noises", "1", "1"], "--noises names one twice"),
        (["--gains", "-1"], "--gains must be at least 0 and finite"),
    ],
)  # fmt: skip
def test_errors(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("lyapunov", *arguments, "--run-dir", tmp_path / "run") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_schedules_follow_the_whole_run() -> None:
    """Cells are trained from moment to moment: a cosine ends with the last, not with each."""
    loop = LoopConfig(steps=600)
    schedule = Config(loop=loop, optimizer=OptimizerConfig(schedule="cosine")).whole_schedule()
    assert schedule.decay_steps == 600
    assert schedule.for_run(100) == schedule


def test_health_beyond_a_part_is_not_due() -> None:
    loop = LoopConfig(steps=600, health=HealthConfig(every=200))
    assert dataclasses.replace(loop, steps=100).health.every == 200
    check_health(Elman(3), loop)
    with pytest.raises(UserError, match=r"^--health.every is 200, but the run ends at step 100"):
        check_health(Elman(3), dataclasses.replace(loop, steps=100))
