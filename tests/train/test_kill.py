"""Real processes, really killed: SIGTERM, and SIGKILL in the middle of a save."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.test_loop import untimed
from tests.train.toy import bits, toy_state, train_toy
from train import Checkpoints

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, train_toy(folder)


def start(folder: Path, *options: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "tests.train.toy", str(folder), *options]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(happened, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.001)


def finish(process: subprocess.Popen) -> tuple[int, str]:
    message = process.communicate(timeout=60)[1]
    return process.returncode, message


def check_equal(folder: Path, unbroken) -> None:
    restored = Checkpoints(folder / "checkpoints").restore_latest(toy_state())
    assert restored is not None
    assert restored.step == 90
    assert restored.position == b"90"
    assert bits(restored.state) == bits(unbroken[1].state)
    assert untimed(folder) == untimed(unbroken[0])


@pytest.mark.full  # the same by the command line is in tests/experiments/harness/test_resume.py
def test_sigterm(unbroken, tmp_path):
    process = start(tmp_path, "--pause", "0.05")
    metrics = tmp_path / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and '"split": "train"' in metrics.read_text(), process)
    process.send_signal(signal.SIGTERM)
    code, message = finish(process)
    assert code == 3, message
    assert "stopping after the current steps" in message
    assert "Traceback" not in message
    (*_, last) = Checkpoints(tmp_path / "checkpoints").steps()
    assert 0 < last < 90

    code, message = finish(start(tmp_path, "--resume"))
    assert code == 0, message
    check_equal(tmp_path, unbroken)


@pytest.mark.slow
def test_sigkill_while_saving(unbroken, tmp_path):
    """Killed in its second save, resumed and killed in the one after, then resumed to the end, in this process."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for options, whole in (((), 1), (("--resume",), 2)):
        process = start(tmp_path, *options)
        # Beside the whole checkpoints a folder has appeared that isn't one (yet).
        wait_for(
            lambda whole=whole: (
                checkpoints.folder.exists()
                and len(list(checkpoints.folder.iterdir())) > len(checkpoints.steps()) >= whole
            ),
            process,
        )
        process.kill()
        code, _ = finish(process)
        assert code == -signal.SIGKILL
        assert 0 < checkpoints.steps()[-1] < 90

    assert train_toy(tmp_path, resume=True).finished
    check_equal(tmp_path, unbroken)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["60", "80", "90"]
