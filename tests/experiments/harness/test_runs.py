"""Every experiment run small: what it prints, what it leaves, and that it is the same twice."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import adding, adding_baseline, digits
from experiments.cell_spec import label, parse_cell
from experiments.harness.options import folder_name
from models import unroll
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, saved_state, untimed
from train import read_metrics

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]
# Those that train a cell on one task; the others leave something else, and have tests of their own.
SINGLE = ("adding", "copy_memory", "temporal_order", "digits", "gradients")


def trained_folders(name: str, folder: Path) -> list[Path]:
    """Finds the folders with the metrics of each trained model."""
    return sorted((folder / "cells").iterdir()) if name == "gradients" else [folder]


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == "gradients" else pytest.param(name, marks=pytest.mark.full) for name in SINGLE]
)
def test_what_a_run_leaves(name: str, finished: Finished) -> None:
    folder = finished(name)
    described = json.loads((folder / "config.json").read_text())
    assert described["experiment"] == name
    config = described["config"]
    assert config["hidden_size"] == 6
    assert config["seed"] == 0  # a default, written out
    assert config["loop"] == {
        "steps": 100, "log_every": 20, "eval_every": 50, "save_every": 50, "chunk": 50, "keep": 2,
        "nonfinite": "stop", "rollbacks": 3, "accumulate": 1, "precision": "float32",
        "health": {"every": 0, "examples": 2, "directions": 8},
    }  # fmt: skip
    assert config["optimizer"]["name"] == ("momentum" if name == "gradients" else "adam")

    (environment,) = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["packages"]["numpy"] == np.__version__
    assert environment["devices"] == [f"{d.platform}: {d.device_kind}" for d in jax.devices()]
    assert environment["python"]

    trained = trained_folders(name, folder)
    assert len(trained) == (2 if name == "gradients" else 1)
    for where in trained:
        records = [record for record in read_metrics(where) if record["split"] == "train"]
        assert [record["step"] for record in records] == [20, 40, 60, 80, 100]
        for record in records:
            clipped = min(record["grad_norm"], 1.0)  # by global norm, at 1
            np.testing.assert_allclose(record["clipped_norm"], clipped, rtol=1e-5)
            assert record["grad_norm"] > 0
        held_out = [record["step"] for record in read_metrics(where) if record["split"] == "validation"]
        assert held_out == [0, 50, 100]
        assert list((where / "tensorboard").glob("events.out.tfevents.*"))
        assert newest_checkpoint(where)[0] == 100
        assert sorted(path.name for path in (where / "checkpoints").iterdir()) == ["100", "50"]

    drawn = {path.name for path in (folder / "figures").iterdir()}
    pictures = {path.removesuffix(".png") for path in drawn if path.endswith(".png")}
    assert drawn == {f"{picture}.{kind}" for picture in pictures for kind in ("png", "pdf")}
    assert pictures == {"training"} | (FIGURES if name == "gradients" else set())
    assert all((folder / "figures" / file).stat().st_size > 5_000 for file in drawn)


FIGURES = {"gradient_against_lag", "lyapunov_spectrum"} | {
    f"{what}_{moment}" for what in ("singular_values", "eigenvalues") for moment in ("before", "after")
}


def test_baselines(finished: Finished) -> None:
    """1/6, by hand: the variance of the sum of two numbers uniform in [0, 1]; 10 ln 8 / (T + 20); 1/4; 1/10."""
    baselines = {
        "adding": ("mean_square_error", 1 / 6),
        "copy_memory": ("cross_entropy", pytest.approx(10 * math.log(8) / 25, rel=1e-12)),
        "temporal_order": ("accuracy", 1 / 4),
        "digits": ("accuracy", 1 / 10),
    }
    for name, (metric, value) in baselines.items():
        (found,) = results(finished(name))["baselines"].values()
        assert found == {metric: value}


def test_second_run_is_the_same(
    finished: Finished, options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit, and it prints its result beside the baseline and the files to look at."""
    first, second = finished("digits"), tmp_path / "second"
    capsys.readouterr()
    assert command("digits", *options["digits"], "--run-dir", second) == 0
    said, progress = capsys.readouterr()
    assert untimed(second) == untimed(first)
    assert newest_checkpoint(second) == newest_checkpoint(first)
    assert arrays_bytes(second) == arrays_bytes(first)
    assert (second / "figures/training.png").read_bytes() == (first / "figures/training.png").read_bytes()

    accuracy = results(second)["test"]["accuracy"]
    assert (
        f"digits, pixels permuted, elman: accuracy {accuracy:.1%} on 270 test images; guessing gives 10.0%"
        in said
    )
    assert said.startswith(f"run folder: {second}\n")
    assert said.endswith(f"look at: {second}/figures\n  {second}/figures/training.png\n")
    assert "step 100/100" in progress
    assert "\r" not in progress  # plain lines, for it is no terminal


def restored(folder: Path) -> dict[str, jax.Array]:
    """The parameters at the last step."""
    prefix, leaves = "params/params/", saved_state(folder, 100)
    return {name.removeprefix(prefix): leaf for name, leaf in leaves.items() if name.startswith(prefix)}


def test_reported_error_is_that_of_the_saved_parameters(finished: Finished) -> None:
    """On sequences of our own, the error of the checkpoint comes close to what the run reports."""
    params = restored(finished("adding"))
    batch = adding(jax.random.key(99, impl="threefry2x32"), 4000, length=10)
    cell = parse_cell("elman", 6)
    weights = {name: params[f"recurrent/cell/{name}"] for name in ("kernel", "recurrent", "bias")}
    _, ys = unroll(cell, weights, jnp.asarray(batch.inputs))
    answers = ys[-1] @ params["readout/kernel"] + params["readout/bias"][None]
    error = float(jnp.mean((answers[:, 0] - jnp.asarray(batch.targets)) ** 2))
    reported = results(finished("adding"))["test"]["mean_square_error"]
    assert error == pytest.approx(reported, rel=0.15)
    assert abs(error - adding_baseline()) < 0.05


# --- gradients


@pytest.fixture
def names(options: Options) -> list[str]:
    """The two cells as figures and arrays name them: a built-in one and a user's own."""
    return [label(str(cell)) for cell in options["gradients"][1:3]]


def load(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / "arrays" / f"{name}.npz") as arrays:
        return dict(arrays)


@pytest.mark.slow
def test_gradients_arrays_and_table(finished: Finished, names: list[str]) -> None:
    folder = finished("gradients")
    assert names == ["elman", "mine.py:Leaky alpha=0.3"]
    keys = {f"{name}|{moment}" for name in names for moment in ("before", "after")}
    norms, spectra, eigenvalues = (
        load(folder, quantity) for quantity in ("gradient_norms", "log_singular_values", "eigenvalues")
    )
    for arrays, shape in ((norms, (64, 8)), (spectra, (2, 64, 6)), (eigenvalues, (64, 6))):
        assert {name: array.shape for name, array in arrays.items()} == dict.fromkeys(keys, shape)
        assert all(np.isfinite(array).all() for array in arrays.values())
    for key in keys:
        assert (np.diff(spectra[key], axis=-1) <= 0).all()  # the largest first
        # |det J| twice: by the first lag's singular values and by the eigenvalues of the last step.
        log_det = np.log(np.abs(eigenvalues[key][-1])).sum()
        np.testing.assert_allclose(spectra[key][0, 0].sum(), log_det, atol=1e-3)

    table, found = (folder / "table.txt").read_text(), results(folder)
    header, *rows = table.splitlines()
    assert header.split()[:3] == ["cell", "training", "slope"]
    assert header.split()[3:] == ["half-life", "λ₁", "accuracy"]
    assert "largest σ at lag 1, 8, 32, 63" in rows[5]
    assert max(map(len, table.splitlines())) <= 120
    exponents = load(folder, "exponents")
    for name, before, after in zip(names, rows[0:4:2], rows[1:4:2], strict=True):
        assert before.startswith(f"{name} ")
        assert " before " in before
        assert " after " in after
        assert after.endswith(f"{found['test_accuracy'][name]:.1%}")
        row = found["rows"][f"{name}, after training"]
        median = np.median(spectra[f"{name}|after"], axis=0)
        for lag in (1, 8, 32, 63):
            assert row["log_largest"][str(lag)] == pytest.approx(median[lag - 1, 0])
            assert row["log_middle"][str(lag)] == pytest.approx(median[lag - 1, 2])
        falling = np.median(norms[f"{name}|after"], axis=1)
        lags = np.flatnonzero(falling)  # beyond them float32 holds nothing
        slope = np.polyfit(lags, np.log(falling[lags]), 1)[0]
        assert row["slope"] == pytest.approx(slope, rel=1e-6)
        assert f"{slope:+.3f}" in after
        assert row["half_life"] == pytest.approx(math.log(2) / -slope, rel=1e-6)
        assert f"{row['half_life']:.3g}" in after
        spectrum = exponents[f"{name}|after"]
        assert spectrum.shape == (2, 6)
        assert (np.diff(spectrum) <= 0).all()
        assert row["exponent"] == pytest.approx(np.median(spectrum[:, 0]), rel=1e-6)
        # Over 64 steps λ₁ is near the growth of the whole product, ln σ₁ / T.
        growth = median[63, 0] / 64
        assert abs(row["exponent"] - growth) < 0.1


@pytest.mark.full
@pytest.mark.parametrize("which", [0, 1])
def test_gradients_from_the_saved_parameters(
    which: int, finished: Finished, names: list[str], options: Options
) -> None:
    """‖∂L/∂s‖ again from the checkpoint, by a way of its own: the loss as a function of one state at a time."""
    folder, name = finished("gradients"), names[which]
    params = restored(folder / "cells" / folder_name(name))
    cell = parse_cell(str(options["gradients"][1 + which]), 6)
    weights = {
        key.removeprefix("recurrent/cell/"): leaf
        for key, leaf in params.items()
        if key.startswith("recurrent/")
    }
    source = digits("test")
    image, target = 4.0 * jnp.asarray(source.inputs[0]), int(source.targets[0])  # 4: --input-gain

    def loss(state: jax.Array, rest: jax.Array) -> jax.Array:
        _, ys = unroll(cell, weights, rest, state)
        logits = ys[-1] @ params["readout/kernel"] + params["readout/bias"]
        return -jax.nn.log_softmax(logits)[target]

    stored = load(folder, "gradient_norms")[f"{name}|after"][:, 0]
    for lag in (1, 2, 9, 64):
        state = cell.initial_state(weights)
        if lag < 64:
            state, _ = unroll(cell, weights, image[: 64 - lag])
        norm = jnp.linalg.norm(jax.grad(loss)(state, image[64 - lag :]))
        np.testing.assert_allclose(stored[lag - 1], norm, rtol=2e-3)
