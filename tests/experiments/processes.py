"""The command line in real processes, and what may be done to one at which moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.compilation import share_compiled_programs
from tests.experiments.command import arrays_bytes, newest_checkpoint, untimed
from train import Checkpoints
from train.manifest import MANIFEST

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str]
PATIENCE = 300.0


@dataclass(frozen=True)
class Command:
    """`python -m experiments …` in a folder, with what the tests have compiled unless it is to compile anew."""

    home: Path
    arguments: tuple[str, ...]
    anew: bool = False

    def words(self, *more: str) -> list[str]:
        return [sys.executable, "-m", "experiments", *self.arguments, *more]

    def environment(self) -> dict[str, str]:
        share_compiled_programs(self.home / "prepared")
        return os.environ | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "XDG_CACHE_HOME": str(self.home / "prepared"),
            "JAX_ENABLE_COMPILATION_CACHE": str(int(not self.anew)),
        }

    def start(self, *more: str) -> Process:
        """A process that hears Ctrl-C, even where the shell of the tests doesn't."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.words(*more), cwd=self.home, env=self.environment(), stdout=pipe, stderr=pipe, text=True
        )

    def run(self, *more: str) -> tuple[int, str]:
        """Exit code and words of a process left alone."""
        return finish(self.start(*more))


def finish(process: Process) -> tuple[int, str]:
    """The exit code and everything said, in which there is never a traceback."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert "Traceback" not in out + err, out + err
    return process.returncode, out + err


def sentence(said: str) -> str:
    """Returns what a refused command says, once and in one line."""
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    return line.removeprefix("error: ")


def wait_for(happened: Callable[[], bool], process: Process) -> None:
    """Returns when it has happened, or the process has ended."""
    deadline = time.monotonic() + PATIENCE
    while not happened() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def last_step(run: Path) -> int:
    """The last training step in `metrics.jsonl`; −1 without one."""
    path = run / "metrics.jsonl"
    found = path.read_text().rsplit('{"step": ', 1) if path.exists() else []
    return int(found[1].split(",")[0]) if len(found) > 1 else -1


def saving(run: Path) -> bool:
    """Tells whether a checkpoint is being written: something beside the whole ones."""
    folder = run / "checkpoints"
    try:
        return any(not (path / MANIFEST).exists() for path in folder.iterdir())
    except FileNotFoundError:
        return False


MOMENTS = ("any", "training", "saving")


def disturb(
    process: Process, run: Path, number: signal.Signals, moment: str, random: np.random.Generator
) -> None:
    """Sends a signal at one of the `MOMENTS`, Ctrl-C sometimes twice."""
    if moment == "any":
        time.sleep(random.uniform(0, 2.5))
    else:
        # A run that is gone on with cuts its metrics back to what was saved, and then adds to them.
        saved = max(Checkpoints(run / "checkpoints").steps(), default=0)
        place = saved + int(random.integers(1, 40))
        wait_for(lambda: last_step(run) >= place, process)
        if moment == "saving":
            wait_for(lambda: saving(run), process)
    process.send_signal(number)
    if number == signal.SIGINT and random.random() < 0.5:
        time.sleep(random.uniform(0, 0.05))
        process.send_signal(number)


def outcome(run: Path) -> Mapping[str, object]:
    """All that must be the same, bit for bit, however often a run was disturbed."""
    step, state = newest_checkpoint(run)
    texts = {
        name: (run / name).read_text() for name in ("results.json", "table.txt") if (run / name).exists()
    }
    return {"step": step, "state": state, "metrics": untimed(run), "arrays": arrays_bytes(run)} | texts
