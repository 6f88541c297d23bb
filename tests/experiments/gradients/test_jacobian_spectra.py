"""Jacobian spectra: what a run measures, by NumPy from its checkpoints; gains in a cell's options; errors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from analysis import tanh_mean_field
from experiments.gradients.comparison import held_out_inputs
from experiments.gradients.jacobian_spectra import Config
from experiments.gradients.jacobian_spectra_measure import log_rms, measure, measured_lags, tanh_theory
from models import GRU, Elman
from tests.experiments.command import arrays_bytes, command, saved_state

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]


def test_gains_stand_for_g() -> None:
    config = Config(cells=("gru", "elman(recurrent_init=orthogonal(gain = G))"), gains=(0.5, 2.0))
    expected = ("gru", *(f"elman(recurrent_init=orthogonal(gain ={g}))" for g in ("0.5", "2")))
    assert config.expressions() == expected
    config.check()


@pytest.mark.full
def test_defaults_move_with_the_length() -> None:
    config = Config(length=40)
    config.check()
    assert config.lags_within(40) == [1, 5, 20]


def test_lags() -> None:
    assert list(measured_lags(50)) == list(range(1, 51))
    many = measured_lags(5000)
    assert many[0] == 1
    assert many[-1] == 5000
    assert 40 < len(many) <= 64


@pytest.mark.slow
def test_what_a_run_leaves(finished: Finished) -> None:
    """Products of Jacobians diag(1 − h²) Rᵀ by NumPy, from the checkpoint of the last step."""
    folder, name = finished("jacobian_spectra"), "elman_recurrent_gaussian_gain_1.5"
    leaves = saved_state(folder / "nets" / name, 20)
    kernel, recurrent, bias = (
        np.asarray(leaves[f"params/params/recurrent/cell/{n}"], np.float64)
        for n in ("kernel", "recurrent", "bias")
    )
    inputs = held_out_inputs(Config(length=10).problem(), 2)[:, 0].astype(np.float64)
    h, jacobians = np.zeros(5), []
    for x in inputs:
        h = np.tanh(x @ kernel + h @ recurrent + bias)
        jacobians.append((1 - h**2)[:, None] * recurrent.T)
    with np.load(folder / f"arrays/nets/{name}.npz") as arrays:
        found = dict(arrays)
    assert found["after|spectra"].shape == (2, 10, 5)
    product, expected = np.eye(5), np.zeros(5)
    for lag, jacobian in enumerate(jacobians[::-1], 1):
        product = product @ jacobian
        expected = np.log(np.linalg.svd(product, compute_uv=False))
        np.testing.assert_allclose(found["after|spectra"][0, lag - 1, :2], expected[:2], atol=1e-3)
    assert found["after|matrix_free"] == pytest.approx(expected[0], abs=2e-3)
    moduli = np.sort(np.abs(np.linalg.eigvals(jacobians[-1])))[::-1]
    np.testing.assert_allclose(np.abs(found["after|eigenvalues"][-1]), moduli, rtol=1e-3)

    results = json.loads((folder / "results.json").read_text())
    assert list(results) == [
        f"{cell}, {moment} training"
        for cell in ("elman recurrent=gaussian(gain=0.5)", "elman recurrent=gaussian(gain=1.5)")
        for moment in ("before", "after")
    ]
    row = results["elman recurrent=gaussian(gain=1.5), after training"]
    medians = np.median([log_rms(s) for s in found["after|spectra"]], axis=0)
    assert row["rate"] == pytest.approx(medians[-1] / 10)
    assert row["theory"] is None
    assert results["elman recurrent=gaussian(gain=1.5), before training"]["theory"] is not None
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    both = [f"{what}_{m}.png" for what in ("growth_rates", "eigenvalues") for m in ("before", "after")]
    assert drawn == {"singular_values.png", "condition_numbers.png", "mean_square.png", *both}
    assert (folder / "table.txt").read_text().splitlines()[0].split()[:3] == ["cell", "training", "rms"]


@pytest.mark.slow
def test_root_mean_square_of_a_wide_net_is_that_of_theory() -> None:
    """After the first steps each Jacobian multiplies it by √χ, of the stationary state: ½ ln χ = −0.1418 a step at
    g = 1.5 and σ = 1."""
    rng, size = np.random.default_rng(0), 300
    params = {
        "kernel": jnp.eye(size),
        "recurrent": jnp.asarray(1.5 / size**0.5 * rng.normal(size=(size, size)), jnp.float32),
        "bias": jnp.zeros(size),
    }
    along = jnp.asarray(rng.normal(size=(12, 1, size)), jnp.float32)
    found = measure(Elman(size), params, along)
    measured = log_rms(found["spectra"])[0]
    theory = tanh_theory(Elman(size), params, along)
    assert theory is not None
    lags = np.arange(1, 13)
    # The slopes are about −0.13, and this is one net of 300 units.
    np.testing.assert_allclose(measured / lags, theory / lags, atol=0.03)
    np.testing.assert_allclose(np.diff(theory)[:4], tanh_mean_field(1.5, 1.0).exponent, atol=0.02)
    assert tanh_theory(GRU(3), GRU(3).init(jnp.zeros(2, jnp.uint32), 2), jnp.zeros((2, 1, 2))) is None


@pytest.mark.full
def test_resumed_run_ends_the_same(
    finished: Finished, options: Options, tmp_path: Path
) -> None:  # fmt: skip
    folder = shutil.copytree(finished("jacobian_spectra"), tmp_path / "run")
    before, table = arrays_bytes(folder), (folder / "table.txt").read_text()
    kept = folder / "arrays/nets/elman_recurrent_gaussian_gain_0.5.npz"
    stamp = kept.stat().st_mtime_ns
    for gone in ("results.json", "table.txt", "arrays/nets/elman_recurrent_gaussian_gain_1.5.npz"):
        (folder / gone).unlink()
    assert command("jacobian_spectra", *options["jacobian_spectra"], "--resume", folder) == 0
    assert kept.stat().st_mtime_ns == stamp
    assert arrays_bytes(folder) == before
    assert (folder / "table.txt").read_text() == table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--cells"], "--cells names no cell"),
        (["--gains"], "--gains is empty"),
        (["--gains", "nan"], "--gains must be at least 0 and finite"),
        (["--gains", "1", "--cells", "gru"], "--gains changes nothing, for no cell of --cells has a gain G"),
        (["--gains", "1", "1"], "--gains names one twice"),
        (
            ["--shown-lags", "60"],
            "--shown-lags 60 is longer than the sequences of adding, which have 50 steps",
        ),
        (["--cells", "elman(recurrent_init=gauss(gain=G))"], "unknown initialiser 'gauss'"),
        (["--trajectories", "0"], "trajectories must be a whole number of at least 1"),
    ],
)
def test_errors(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("jacobian_spectra", *arguments, "--run-dir", tmp_path / "run") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
