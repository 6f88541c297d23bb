"""Stopped, killed, and resumed: the same bits as a run that never was.

What is stopped is a real process; what is compared with it runs in this one, which has compiled it already.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from train import Checkpoints, Tracker

ROOT = Path(__file__).parents[3]
Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]
LAST = 2000
ADDING = ["adding", "--cell=elman", "--hidden-size=8", "--length=20", "--batch-size=10", "--save-every=200"]
ADDING += ["--steps", str(LAST), "--devices=1"]  # this process has no more
Process = subprocess.Popen[str]
pytestmark = pytest.mark.usefixtures("one_task")


def start(folder: Path, *options: str) -> Process:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *ADDING, *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: Process) -> tuple[int, str]:
    """The exit code and everything said."""
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in out + err, out + err
    return process.returncode, out + err


def wait_for_step(run: Path, step: int, process: Process) -> None:
    deadline = time.monotonic() + 300
    path = run / "metrics.jsonl"
    while not path.exists() or f'"step": {step}, "split": "train"' not in path.read_text():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for_checkpoint(run: Path, process: Process) -> None:
    """Until one is whole: they are written beside the training, which a warm compilation cache makes quick."""
    deadline = time.monotonic() + 300
    while not Checkpoints(run / "checkpoints").steps():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.002)


Stopped = tuple[Path, int, str]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Of a process that SIGTERM stopped the folder, exit code and words."""
    home = tmp_path_factory.mktemp("home")
    process = start(home, "--run-dir", "runs/adding/term")
    try:
        wait_for_step(home / "runs/adding/term", 500, process)
        process.terminate()
        return home / "runs/adding/term", *finish(process)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert command(*ADDING, "--run-dir", folder) == 0
    return folder


def test_sigterm_saves_and_leaves(stopped: Stopped) -> None:
    folder, code, said = stopped
    assert code == 128 + signal.SIGTERM, said
    assert "stopping after the current steps" in said
    step = Checkpoints(folder / "checkpoints").steps()[-1]
    assert 500 <= step < LAST
    assert f"stopped at step {step}; run the same command with --resume runs/adding/term to continue" in said
    assert not (folder / "results.json").exists()


def check_equal(folder: Path, whole: Path) -> None:
    """Parameters, optimizer, keys, data position, metrics, arrays, results and figure."""
    assert newest_checkpoint(folder) == newest_checkpoint(whole)
    assert position(folder) == position(whole)
    assert untimed(folder) == untimed(whole)
    assert arrays_bytes(folder) == arrays_bytes(whole)
    for name in ("results.json", "figures/training.png"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def position(folder: Path) -> str:
    manifest = json.loads((folder / "checkpoints" / str(LAST) / "manifest.json").read_text())
    return manifest["content"]["position"]


@pytest.mark.full
def test_resumed_by_name(stopped: Stopped, whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stopped[0], tmp_path / "run")
    assert command(*ADDING, "--resume", folder) == 0
    check_equal(folder, whole)


@pytest.mark.full
def test_resumed_as_the_newest(
    stopped: Stopped, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the unfinished runs the one begun last, whatever the folders are called."""
    runs = tmp_path / "runs" / "adding"
    for name, source in (("9", stopped[0]), ("2", stopped[0]), ("3", whole)):
        shutil.copytree(source, runs / name)
    begun = json.loads((runs / "9" / "environment.json").read_text(encoding="utf-8"))
    begun[0]["started"] = "2020-01-01T00:00:00+00:00"
    (runs / "9" / "environment.json").write_text(json.dumps(begun), encoding="utf-8")
    untouched = newest_checkpoint(runs / "9")
    monkeypatch.chdir(tmp_path)
    assert command(*ADDING, "--resume") == 0
    check_equal(runs / "2", whole)
    assert newest_checkpoint(runs / "9") == untouched


@pytest.mark.full
def test_killed_and_resumed_in_processes_of_their_own(whole: Path, tmp_path: Path) -> None:
    """Killed twice, at other steps, and each time resumed by a fresh process."""
    folder = tmp_path / "run"
    for step, more in ((300, ("--run-dir", "run")), (1300, ("--resume", "run"))):
        process = start(tmp_path, *more)
        wait_for_step(folder, step, process)
        wait_for_checkpoint(folder, process)
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
        assert 0 < Checkpoints(folder / "checkpoints").steps()[-1] < LAST
    code, said = finish(start(tmp_path, "--resume", "run"))
    assert code == 0, said
    check_equal(folder, whole)


# --- in this process


@pytest.mark.full
def test_more_steps(options: Options, finished: Finished, tmp_path: Path) -> None:
    """100 steps and then 200 are 200 at once, on a finite data set that is shuffled anew at each pass."""
    part = shutil.copytree(finished("digits"), tmp_path / "part")
    whole = tmp_path / "whole"
    longer = ("digits", *options["digits"], "--steps", 200)
    assert command(*longer, "--run-dir", whole) == 0
    assert command(*longer, "--run-dir", part, "--resume") == 0
    assert newest_checkpoint(part) == newest_checkpoint(whole)
    assert untimed(part) == untimed(whole)
    assert arrays_bytes(part) == arrays_bytes(whole)
    assert json.loads((part / "config.json").read_text()) == json.loads((whole / "config.json").read_text())


@pytest.mark.full  # of several nets in one run, test_long_memory.py stops and resumes one too
def test_gradients(
    options: Options,
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stopped after the first cell's last step, then within the second cell: the first is not trained again."""
    folder, whole = tmp_path / "run", finished("gradients")
    # Drawing is slow, and tested elsewhere.
    monkeypatch.setattr("experiments.gradients.gradients.draw", lambda folder: [])
    log = Tracker.log

    def stop_at(cell: str, step: int) -> None:
        def logged(self: Tracker, done: int, split: str, metrics: dict) -> None:
            log(self, done, split, metrics)
            if (self.folder.name, done, split) == (cell, step, "train"):
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(Tracker, "log", logged)

    first, second = (path.name for path in sorted((whole / "cells").iterdir()))
    arguments = ("gradients", *options["gradients"])
    for cell, step, more in ((first, 100, ("--run-dir", folder)), (second, 40, ("--resume", folder))):
        stop_at(cell, step)
        assert command(*arguments, *more) == 128 + signal.SIGTERM
        said = capsys.readouterr().err
        assert f"stopped at step {100 if cell == first else 50}; run the same command" in said
        assert f"--resume {folder}" in said
        assert (folder / "cells" / second).exists() == (cell == second)
        assert not (folder / "results.json").exists()
    monkeypatch.setattr(Tracker, "log", log)

    assert command(*arguments, "--resume", folder) == 0
    for cell in (first, second):
        assert newest_checkpoint(folder / "cells" / cell) == newest_checkpoint(whole / "cells" / cell)
        assert untimed(folder / "cells" / cell) == untimed(whole / "cells" / cell)
    assert arrays_bytes(folder) == arrays_bytes(whole)
    assert (folder / "table.txt").read_text() == (whole / "table.txt").read_text()
    assert (folder / "results.json").read_text() == (whole / "results.json").read_text()


LINKED = ("config.json", "environment.json", "results.json", "metrics.jsonl", "arrays/curves.npz")
LINKED += ("figures/training.png", "figures/training.pdf")


@pytest.mark.full
def test_a_renamed_checkpoint_and_links(options: Options, finished: Finished, tmp_path: Path) -> None:
    """A folder's name is not believed: training goes on from the checkpoint before, and ends as if nothing had been
    renamed. Nothing is written where a link leads."""
    part, whole, elsewhere = tmp_path / "part", tmp_path / "whole", tmp_path / "elsewhere"
    shutil.copytree(finished("adding"), part)
    (part / "checkpoints" / "100").rename(part / "checkpoints" / "150")
    elsewhere.mkdir()
    for name in LINKED:
        (part / name).rename(elsewhere / Path(name).name)
        (part / name).symlink_to(elsewhere / Path(name).name)
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    longer = ("adding", *options["adding"], "--steps", 150)
    with pytest.warns(
        UserWarning, match="150 is damaged .* is of step 100: .*; continuing from step 50 instead"
    ):
        assert command(*longer, "--resume", part) == 0
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == before
    assert not [path for path in part.rglob("*") if path.is_symlink()]
    assert command(*longer, "--run-dir", whole) == 0
    assert newest_checkpoint(part) == newest_checkpoint(whole)
    assert untimed(part) == untimed(whole)
    assert arrays_bytes(part) == arrays_bytes(whole)
    assert (part / "results.json").read_bytes() == (whole / "results.json").read_bytes()


def test_a_terminal_that_closes(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGHUP amid training saves and leaves, as SIGTERM does."""
    log = Tracker.log

    def logged(self: Tracker, done: int, split: str, metrics: dict) -> None:
        log(self, done, split, metrics)
        if (done, split) == (20, "train"):
            signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(Tracker, "log", logged)
    folder = tmp_path / "run"
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored
    try:
        assert command("adding", *options["adding"], "--run-dir", folder) == 128 + signal.SIGHUP
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (
        f"stopped at step 20; run the same command with --resume {folder} to continue"
        in capsys.readouterr().err
    )
    assert Checkpoints(folder / "checkpoints").steps() == [20]


def test_interrupted_between_trainings(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C where nothing is to be saved: no traceback, and the way back is named."""

    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("experiments.run_task.initial_params", interrupted)
    folder = tmp_path / "run"
    assert command("adding", *options["adding"], "--run-dir", folder) == 128 + signal.SIGINT
    assert f"interrupted; run the same command with --resume {folder} to continue" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_the_folder_is_opened(
    number: signal.Signals,
    finished: Finished,
    options: Options,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And while the report is printed: the code of the signal, no traceback."""
    folder = shutil.copytree(finished("adding"), tmp_path / "run")

    def stopped(*_: object) -> str:
        signal.raise_signal(number)
        return ""

    before = signal.getsignal(signal.SIGTERM)
    try:
        with monkeypatch.context() as patch:
            patch.setattr("experiments.harness.run.check_restorable", stopped)
            assert command("adding", *options["adding"], "--resume", folder) == 128 + number
        assert "; run the same command again\n" in capsys.readouterr().err
        monkeypatch.setattr(
            "experiments.memory.adding.main", lambda *_: type("Report", (), {"__str__": stopped})()
        )
        assert command("adding", *options["adding"], "--resume", folder) == 128 + number
        assert f"; run the same command with --resume {folder} to continue\n" in capsys.readouterr().err
    finally:
        signal.signal(signal.SIGTERM, before)
