"""`--devices`: how many share a batch, that they are there before JAX starts, and what resuming makes of it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.cell_spec import parse_cell
from experiments.objective import cell_of, over_devices
from models import BatchNormLSTM, Elman, SequenceClassifier
from tests.experiments.command import command, saved_state, untimed
from train import BATCH_AXIS

ROOT = Path(__file__).parents[3]
SMALL = ["adding", "--cell=elman", "--hidden-size=4", "--length=6", "--batch-size=7", "--eval-every=20"]
Finished = Callable[[str], Path]


def program(folder: Path, *words: str) -> tuple[int, str]:
    """A process of its own: its exit code and all that it said."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def environments(folder: Path) -> list[dict]:
    return json.loads((folder / "environment.json").read_text())


@pytest.mark.full
def test_two_devices(tmp_path: Path) -> None:
    """They share batches that don't divide; a run goes on as it was begun, to the same bits, or not at all."""
    run = ("-m", "experiments", *SMALL)
    for name, steps in (("whole", "40"), ("part", "20")):
        code, said = program(tmp_path, *run, "--devices=2", "--run-dir", name, "--steps", steps)
        assert code == 0, said
        assert said.count("batch of 7 padded to 8 to divide over 2 devices") == 1
    code, said = program(tmp_path, *run, "--devices=1", "--resume=part", "--steps=40")
    assert code == 2
    assert "error: part was begun with --devices 2, not 1, and would end with other bits" in said
    code, said = program(tmp_path, *run, "--resume=part", "--steps=40")
    assert code == 0, said
    assert [len(one["devices"]) for one in environments(tmp_path / "part")] == [2, 2]
    assert untimed(tmp_path / "part") == untimed(tmp_path / "whole")
    results = [(tmp_path / name / "results.json").read_bytes() for name in ("part", "whole")]
    assert results[0] == results[1]


@pytest.mark.full
def test_one_for_each_core_and_none_before(tmp_path: Path) -> None:
    """Importing everything starts nothing and sets nothing: the switch still can."""
    code, said = program(
        tmp_path,
        "-c",
        "import jax, analysis, data, models, train, experiments.gradients.gradients\n"
        "assert jax.config.jax_num_cpu_devices == -1\n"
        "from experiments.harness.launch import Launch, cores, take_devices\n"
        "assert take_devices('adding', Launch()) == cores() == jax.device_count()\n"
        "assert take_devices('adding', Launch(devices=1)) == 1\n",
    )
    assert code == 0, said
    code, said = program(tmp_path, "-m", "experiments", *SMALL, "--steps=20", "--run-dir=run")
    assert code == 0, said
    (there,) = environments(tmp_path / "run")
    assert len(there["devices"]) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("count", "said"),
    [
        ("0", "error: --devices must be a whole number of at least 1, but is 0"),
        ("40", "error: --devices 40 are more than the 1 that JAX has here"),
    ],
)
def test_numbers_that_cannot_be_had(
    count: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*SMALL, "--devices", count, "--run-dir", tmp_path / "run") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resume_says_where_it_went_on(finished: Finished, options: dict, tmp_path: Path) -> None:
    folder = shutil.copytree(finished("adding"), tmp_path / "run")
    assert command("adding", *options["adding"], "--resume", folder) == 0
    first, second = environments(folder)
    assert first == environments(finished("adding"))[0]
    assert second["started"] >= first["started"]
    assert second["devices"] == [f"{d.platform}: {d.device_kind}" for d in jax.local_devices()]


@pytest.mark.full
def test_batch_norm_trains_with_its_averages(tmp_path: Path) -> None:
    """By its name; the averages are those of training, so that held-out data are normalised as training's were."""
    options = (
        "--cell",
        "batch_norm_lstm(max_steps=5)",
        "--hidden-size",
        4,
        "--steps",
        20,
        "--eval-every",
        20,
    )
    assert command("adding", "--length", 6, "--batch-size", 10, *options, "--run-dir", tmp_path / "run") == 0
    state = saved_state(tmp_path / "run", 20)
    prefix = "params/params/recurrent/cell/averages/"
    np.testing.assert_array_equal(state[f"{prefix}seen"], np.ones(5))
    assert np.all(np.asarray(state[f"{prefix}memory_variance"]) != 1)
    # x W over a batch: a marker of 0 or 1 and a number in [0, 1] have a variance that is easily bounded.
    kernel = np.asarray(state["params/params/recurrent/cell/kernel"])
    seen = np.asarray(state[f"{prefix}input_variance"])
    assert np.all(seen < (np.abs(kernel).sum(axis=0) ** 2)[None])


@dataclass(frozen=True)
class Coupled(Elman):
    """Couples a batch, and knows nothing of devices."""

    couples_batch = True


def test_cells_that_couple_a_batch_name_the_axis() -> None:
    model = SequenceClassifier(parse_cell("batch_norm_lstm", 4), classes=1)
    assert over_devices(model, 1) is model
    assert cell_of(over_devices(model, 2)) == BatchNormLSTM(4, axis_name=BATCH_AXIS)
    plain = SequenceClassifier(Elman(4), classes=1)
    assert over_devices(plain, 2) is plain
    with pytest.raises(
        ValueError, match=r"^--devices 2 can't share a batch .* has no field axis_name: take 1"
    ):
        over_devices(SequenceClassifier(Coupled(4), classes=1), 2)
