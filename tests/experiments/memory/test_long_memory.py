"""Long memory: what counts as solved, what is left, and that a resumed run does no net again and none otherwise."""

import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from data import Batch
from experiments.memory.long_memory import GOALS, Config, Outcome, at_length, format_table
from experiments.problems import recall
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from train import Tracker, read_metrics

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]
NETS = "nets/adding/elman"


@pytest.fixture(scope="module", autouse=True)
def one_task() -> Iterator[None]:
    """Equal tasks are one object in this process, so that its runs compile once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.problems.partial", cache(partial))
        yield


def test_recalled_counts_no_blanks() -> None:
    """Three of four symbols right; the blanks, right or wrong, don't matter."""
    targets = np.full((6, 2), 8)
    targets[4:] = [[1, 2], [3, 4]]
    answers = np.array([[8, 0], [8, 8], [3, 8], [8, 8], [1, 2], [3, 7]])
    batch = Batch(np.zeros((6, 2, 10)), targets, np.ones((6, 2), bool))
    logits = 5.0 * jnp.asarray(np.eye(10)[answers])
    measured = recall(logits, batch)
    assert [float(value) for value in measured["recalled"]] == [3, 4]
    assert [float(value) for value in measured["accuracy"]] == [9, 12]
    assert next(iter(measured)) == "cross_entropy"  # what is trained on


def test_goals() -> None:
    assert GOALS["adding"].reached({"mean_square_error": 0.0099})
    assert not GOALS["adding"].reached({"mean_square_error": 0.01})
    assert GOALS["copy_memory"].reached({"recalled": 0.991, "accuracy": 0.0})
    assert not GOALS["copy_memory"].reached({"recalled": 0.99, "accuracy": 1.0})


def test_length_in_a_cell() -> None:
    assert at_length("lstm(max_lag=T)", 70) == "lstm(max_lag=70)"
    assert at_length("a.py:T(alpha = T, Tau=TT)", 5) == "a.py:T(alpha =5, Tau=TT)"
    Config(cells=("lstm(max_lag=T)",)).check()


@pytest.mark.full
def test_what_a_run_leaves(finished: Finished) -> None:
    """Solved at length 2, not at 30, and so not tried at 40."""
    folder = finished("long_memory")
    records = [r for r in read_metrics(folder / NETS / "2") if r["split"] == "validation"]
    errors = [record["mean_square_error"] for record in records]
    assert errors[-1] < 0.01
    assert all(error >= 0.01 for error in errors[:-1])  # it ended at the first that solves it
    solved = records[-1]["step"]
    assert 10 < solved < 300
    long = [r["mean_square_error"] for r in read_metrics(folder / NETS / "30") if r["split"] == "validation"]
    results = json.loads((folder / "results.json").read_text())
    assert results == {
        "adding": {
            "elman": {
                "2": {"solved": True, "steps": solved, "best": min(errors), "diverged": False},
                "30": {"solved": False, "steps": 300, "best": min(long), "diverged": False},
            }
        }
    }
    assert sorted(path.name for path in (folder / NETS).iterdir()) == ["2", "30"]
    table = (folder / "table.txt").read_text().splitlines()
    assert table[-1].split() == ["elman", str(solved), f"({min(long):.5f})", "not", "tried"]
    with np.load(folder / "arrays/outcomes.npz") as arrays:
        np.testing.assert_array_equal(arrays["adding|elman|steps"], [solved, math.nan])
        np.testing.assert_array_equal(arrays["adding|elman|length"], [2, 30])
    assert (folder / "figures/steps_to_solve.png").stat().st_size > 5_000


def test_table_of_two_tasks() -> None:
    config = Config(cells=("gru", "lstm"), lengths=(100, 50))
    outcomes = {
        "adding": {"gru": {50: Outcome(True, 150, 0.0093), 100: Outcome(False, 2000, 0.161)}},
        "copy_memory": {"lstm": {50: Outcome(False, 2000, 0.4), 100: Outcome(False, 80, 0.1, diverged=True)}},
    }
    lines = format_table(config, outcomes).splitlines()  # type: ignore
    assert lines[1].split() == ["cell", "T", "=", "50", "T", "=", "100"]
    assert lines[2].split() == ["gru", "150", "(0.16100)"]
    assert lines[-1].split() == ["lstm", "(40.0%)", "diverged"]


@pytest.mark.full
def test_resumed(
    finished: Finished, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second net and resumed: the same bits, and the first is left alone."""
    whole, folder, log = finished("long_memory"), tmp_path / "run", Tracker.log

    def logged(self: Tracker, done: int, split: str, metrics: dict) -> None:
        log(self, done, split, metrics)
        if (self.folder.name, done, split) == ("30", 120, "train"):
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Tracker, "log", logged)
    arguments = ("long_memory", *options["long_memory"])
    assert command(*arguments, "--run-dir", folder) == 128 + signal.SIGTERM
    monkeypatch.setattr(Tracker, "log", log)
    assert not (folder / "results.json").exists()
    shutil.rmtree(folder / NETS / "2/checkpoints")  # would be missed, if that net were trained again
    assert command(*arguments, "--resume", folder) == 0
    assert newest_checkpoint(folder / NETS / "30") == newest_checkpoint(whole / NETS / "30")
    assert not (folder / NETS / "2/checkpoints").exists()
    for length in ("2", "30"):
        assert untimed(folder / NETS / length) == untimed(whole / NETS / length)
    assert arrays_bytes(folder) == arrays_bytes(whole)
    for name in ("results.json", "table.txt", "figures/steps_to_solve.png"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_resuming_keeps_the_evaluations(
    finished: Finished, options: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps to a solution are counted in them, so that they can't change half-way."""
    arguments = ("long_memory", *options["long_memory"], "--resume", finished("long_memory"))
    assert command(*arguments, "--eval-every", 20) == 2
    assert "was begun with --eval-every 10, not 20" in capsys.readouterr().err
