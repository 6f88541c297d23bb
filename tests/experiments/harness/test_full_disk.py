"""A disk that is full, before a run begins or while it trains, and one that can't be written to.

They are small ones, mounted for the test alone where the machine allows it; with errors injected the same is in
`tests/train/test_checkpoint.py`.
"""

import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.experiments.processes import Command, outcome, sentence, wait_for
from train import Checkpoints

pytestmark = pytest.mark.slow

STEPS = 600
ADDING = ("adding", "--cell=elman", "--hidden-size=8", "--length=20", "--batch-size=10", "--save-every=20")
ADDING += ("--eval-every=60", "--log-every=1", "--chunk=10", "--devices=1", f"--steps={STEPS}")


@cache
def mounts() -> str:
    """Says what keeps this machine from mounting; empty if nothing does."""
    if shutil.which("unshare") is None:
        return "there is no unshare here"
    tried = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    return tried.stderr.strip()


class Disk:
    """A shell in a mount namespace of its own, with a disk of `size` in `home/disk`; gone when the shell is."""

    def __init__(self, command: Command, size: str) -> None:
        (command.home / "disk").mkdir()
        self.command, self.ends = command, 0
        shell = ["unshare", "--map-root-user", "--mount", "sh"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            shell, cwd=command.home, env=command.environment(), stdin=pipe, stdout=pipe, text=True
        )
        self.run(f"mount -t tmpfs -o size={size} tmpfs disk")

    def begin(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"({line}) > out 2>&1 < /dev/null; echo $?\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        assert self.process.stdout is not None
        code = int(self.process.stdout.readline())
        said = (self.command.home / "out").read_text()
        assert "Traceback" not in said, said
        return code, said

    def run(self, line: str) -> str:
        """Of a shell's line that works."""
        self.begin(line)
        code, said = self.end()
        assert code == 0, said
        return said

    def train(self, *more: str) -> tuple[int, str]:
        self.begin(shlex.join(self.command.words(*more)))
        return self.end()

    @property
    def place(self) -> Path:
        """The disk as this process sees it, in the shell's namespace."""
        return Path(f"/proc/{self.process.pid}/root{self.command.home}/disk")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command = Command(tmp_path_factory.mktemp("whole"), ADDING)
    code, said = command.run("--run-dir=run")
    assert code == 0, said
    return command.home / "run"


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest):
    if why := mounts():
        pytest.skip(f"nothing can be mounted here: {why}")
    made = Disk(Command(tmp_path, ADDING), request.param)
    yield made
    made.process.kill()
    made.process.wait()
    for pipe in (made.process.stdin, made.process.stdout):
        assert pipe is not None
        pipe.close()


FILL = "dd if=/dev/zero of=disk/ballast bs=4k"


@pytest.mark.full
@pytest.mark.parametrize("disk", ["1m"], indirect=True)
def test_full_before_it_begins(disk: Disk, whole: Path) -> None:
    """Nothing is left of the run, so that the same command begins it once there is space."""
    disk.begin(FILL)
    disk.end()
    code, said = disk.train("--run-dir=disk/run")
    assert code == 2, said
    assert "(no space left on device): free some space" in sentence(said)
    assert not (disk.place / "run").exists()
    disk.run("rm disk/ballast; mount -o remount,size=50m disk")
    code, said = disk.train("--run-dir=disk/run")
    assert code == 0, said
    assert outcome(disk.place / "run") == outcome(whole)


@pytest.mark.parametrize("disk", ["300k", pytest.param("400k", marks=pytest.mark.full)], indirect=True)
def test_full_while_it_trains(disk: Disk, whole: Path) -> None:
    """Wherever it breaks off: what was saved is whole, a full disk is told again, and then it goes on."""
    code, said = disk.train("--run-dir=disk/run")
    assert code == 2, said
    assert "no space left on device" in sentence(said)
    assert "free some space, and run the same command with --resume disk/run to continue" in sentence(said)
    saved = Checkpoints(disk.place / "run/checkpoints").steps()
    disk.begin(FILL)
    disk.end()
    code, said = disk.train("--resume=disk/run")
    assert code == 2, said
    assert "no space left on device" in sentence(said)
    assert Checkpoints(disk.place / "run/checkpoints").steps() == saved
    disk.run("rm disk/ballast; mount -o remount,size=50m disk")
    code, said = disk.train("--resume=disk/run")
    assert code == 0, said
    assert "is damaged" not in said
    assert outcome(disk.place / "run") == outcome(whole)


def amid_training(disk: Disk, run: Path) -> int:
    """Waits for the first saved steps, long before the last; returns the number of the run's process."""
    wait_for(lambda: bool(Checkpoints(run / "checkpoints").steps()), disk.process)
    return int((run / ".lock").read_text().split()[1])


def fill(ballast: io.RawIOBase) -> None:
    with contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))


@pytest.mark.full
@pytest.mark.parametrize("disk", ["50m"], indirect=True)
def test_filled_by_others(disk: Disk, whole: Path) -> None:
    """All space gone at once, amid training. The run is stopped meanwhile, so that it can't end before the disk is
    full, however slow this process is."""
    disk.begin(shlex.join(disk.command.words("--run-dir=disk/run")))
    run = disk.place / "run"
    number = amid_training(disk, run)
    os.kill(number, signal.SIGSTOP)
    with (disk.place / "ballast").open("wb", buffering=0) as ballast:
        fill(ballast)
    os.kill(number, signal.SIGCONT)
    code, said = disk.end()
    assert code == 2, said
    assert "no space left on device" in sentence(said)
    os.unlink(disk.place / "ballast")
    code, said = disk.train("--resume=disk/run")
    assert code == 0, said
    assert outcome(run) == outcome(whole)


@pytest.mark.full
@pytest.mark.parametrize("disk", ["50m"], indirect=True)
def test_read_only(disk: Disk, whole: Path) -> None:
    disk.begin(shlex.join(disk.command.words("--run-dir=disk/run")))
    run = disk.place / "run"
    os.kill(amid_training(disk, run), signal.SIGTERM)
    assert disk.end()[0] == 128 + signal.SIGTERM
    disk.run("mount -o remount,ro disk")
    for options, where in (("--run-dir=disk/other", "disk/other"), ("--resume=disk/run", "disk/run")):
        code, said = disk.train(options)
        assert code == 2, said
        assert sentence(said) == (
            f"{where} can't be written (read-only file system): choose a folder that can be written to"
        )
    disk.run("mount -o remount,rw disk")
    code, said = disk.train("--resume=disk/run")
    assert code == 0, said
    assert outcome(run) == outcome(whole)
