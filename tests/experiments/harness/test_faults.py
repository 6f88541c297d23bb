"""Runs that whatever may happen happens to, in real processes: each ends as if nothing had, or says what is wrong.

What compiled once is kept for all of a module's processes; the runs are tiny, for each process begins with imports.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.experiments.processes import (
    Command,
    disturb,
    finish,
    last_step,
    outcome,
    sentence,
    wait_for,
)
from train import Checkpoints

pytestmark = pytest.mark.slow

ROUNDS = 20
LAST = 2400
STEPS = (
    "--steps",
    str(LAST),
    "--save-every=20",
    "--eval-every=60",
    "--log-every=1",
    "--chunk=10",
    "--devices=1",
)
ADDING = ("adding", "--cell=elman", "--hidden-size=8", "--length=20", "--batch-size=10", *STEPS)
TEXT = (
    "char_lm",
    "--data.dir=text.txt",
    "--hidden-size=8",
    "--batch-size=4",
    "--length=8",
    "--eval-rows=3",
    *STEPS,
)
TEXT += ("--examples=4", "--lags=5", "--positions=8", "--sample-tokens=20", "--edge-dropout=0.1")
PROSE = "the cat sat on the mat\nand a dog ran; it saw the cat, and it sat.\n"

Made = Callable[[str], Command]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A command in a folder of its own."""
    cache = tmp_path_factory.mktemp("compiled")

    def make(kind: str) -> Command:
        home = tmp_path_factory.mktemp("home")
        (home / "text.txt").write_text(PROSE * 40)
        return Command(home, {"memory": ADDING, "text": TEXT}[kind], cache)

    return make


@pytest.fixture(scope="module", params=["memory", "text"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(made: Made, kind: str) -> Path:
    """The run that nothing happened to."""
    command = made(kind)
    code, said = command.run("--run-dir=run")
    assert code == 0, said
    return command.home / "run"


def test_the_same_twice(made: Made, kind: str, whole: Path) -> None:
    """Bit for bit, compiled anew or not."""
    command = made(kind)
    fresh = Command(command.home, command.arguments, command.home / "compiled_anew")
    code, said = fresh.run("--run-dir=run")
    assert code == 0, said
    assert outcome(command.home / "run") == outcome(whole)


def test_signals_at_any_moment(made: Made, kind: str, whole: Path) -> None:
    """Twenty times over, on one run that is resumed each time."""
    command, random = made(kind), np.random.default_rng(5)
    run = command.home / "run"
    met: list[tuple[str, int, int]] = []
    for _ in range(ROUNDS):
        begun = (run / "config.json").exists()
        process = command.start("--resume=run" if begun else "--run-dir=run")
        what = disturb(process, run, random)
        code, said = finish(process)
        met.append((what, code, last_step(run)))
        number = signal.Signals[what.split()[0]]
        # Before the run's folder is there, a signal ends the process as it ends any other.
        assert code in ((-number,) if number == signal.SIGKILL else (-number, 128 + number)), (met, said)
        assert begun <= (run / "config.json").exists()
        if code == 128 + number:
            assert "--resume run" in said, said
        steps = Checkpoints(run / "checkpoints").steps()
        assert not steps or steps[-1] < LAST, f"too few steps for so many rounds: {met}"
    code, said = command.run("--resume=run")
    assert code == 0, said
    assert outcome(run) == outcome(whole), met
    assert {what.split()[1] for what, _, _ in met} == {"any", "training", "saving"}
    assert {what.split()[0] for what, _, _ in met} == {"SIGINT", "SIGTERM", "SIGKILL"}


# --- damage


@pytest.fixture(scope="module")
def stopped(made: Made) -> Command:
    """A memory run that stopped half way."""
    command = made("memory")
    process = command.start("--run-dir=run")
    wait_for(lambda: last_step(command.home / "run") > LAST // 2, process)
    process.terminate()
    assert finish(process)[0] == 128 + signal.SIGTERM
    return command


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


CLASSES = {
    "the leaves' values": "checkpoints/{step}/state/d/*",
    "the leaves' metadata": "checkpoints/{step}/state/_METADATA",
    "the manifest, with the data's position and the checksums": "checkpoints/{step}/manifest.json",
    "all there is of a checkpoint": "checkpoints/{step}/**/*",
    "the metrics": "metrics.jsonl",
}


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("files", CLASSES.values(), ids=CLASSES)
@pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")
def test_damage(made: Made, stopped: Command, whole: Path, files: str, harm: Callable[[Path], None]) -> None:
    """Of the newest checkpoint: it is named, the one before is used, and the end is the same. Where a file that is
    read line by line can't be mended, that is said, and nothing else is touched."""
    command = made("memory")
    run = copied(stopped.home / "run", command.home / "run")
    step = Checkpoints(run / "checkpoints").steps()[-1]
    harmed = [path for path in run.glob(files.format(step=step)) if path.is_file() and path.stat().st_size]
    assert harmed
    for path in harmed:
        harm(path)
    before = contents(run / "checkpoints")
    code, said = command.run("--resume=run")
    if files == "metrics.jsonl" and code != 0:
        assert (code, harm) == (2, flip)
        assert "run/metrics.jsonl has a line that is not a record of training" in sentence(said)
        assert contents(run / "checkpoints") == before
        return
    assert code == 0, said
    found, expected = outcome(run), outcome(whole)
    if files == "metrics.jsonl":  # what is lost of them is lost; parameters are not
        assert found["state"] == expected["state"]
        return
    assert found == expected
    gone = harm is Path.unlink and any(path.name == "manifest.json" for path in harmed)
    assert ("is damaged" in said and f"checkpoints/{step}" in said) != gone


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink])
@pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")
@pytest.mark.parametrize("name", ["config.json", "environment.json"])
def test_damage_to_what_says_what_it_is(
    made: Made, stopped: Command, whole: Path, name: str, harm: Callable[[Path], None]
) -> None:
    """A sentence names the file, or the option that a flipped bit has changed, and all is as it was; or the end is
    the same."""

    command = made("memory")
    run = copied(stopped.home / "run", command.home / "run")
    harm(run / name)
    before = contents(run)
    code, said = command.run("--resume=run")
    if code == 0:  # the flipped bit was in a word that nothing hangs on
        assert harm is flip
        assert outcome(run) == outcome(whole)
        return
    assert code == 2, said
    assert name in sentence(said) or "was begun with --" in sentence(said)
    assert contents(run) == before


def copied(source: Path, target: Path) -> Path:
    subprocess.run(["cp", "-r", source, target], check=True)
    return target


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- two at once, and another config


def test_two_runs_on_one_folder(made: Made) -> None:
    """The second is refused whichever way it is started, and the first is as if it had been alone."""
    alone, command = made("memory"), made("memory")
    assert alone.run("--run-dir=run")[0] == 0
    first = command.start("--run-dir=run")
    run = command.home / "run"
    wait_for(lambda: last_step(run) >= 0, first)
    first.send_signal(signal.SIGSTOP)  # it must not be done before the second has looked
    try:
        code, said = command.run("--run-dir=run")
        assert code == 2
        assert sentence(said).startswith("run exists already: choose another --run-dir")
        for options in (("--resume=run",), ("--run-dir=run", "--resume")):
            code, said = command.run(*options)
            assert code == 2
            assert sentence(said).startswith(f"run is being written by process {first.pid} on ")
    finally:
        first.send_signal(signal.SIGCONT)
    code, said = finish(first)
    assert code == 0, said
    assert outcome(run) == outcome(alone.home / "run")
    assert not (run / ".lock").exists()


def test_two_that_begin_at_once(made: Made) -> None:
    """One of them runs, the other is refused."""
    command = made("memory")
    both = [command.start("--run-dir=run", "--steps=20") for _ in range(2)]
    ended = sorted(finish(process)[0] for process in both)
    assert ended == [0, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--cell=gru",), "run was begun with --cell elman, not gru"),
        (("--optimizer.learning-rate=0.1",), "run was begun with --optimizer.learning-rate 0.003, not 0.1"),
        (("--seed=1",), "run was begun with --seed 0, not 1"),
        (("--steps=20",), "steps already: resume with --steps"),
        (("--devices=2",), "run was begun with --devices 1, not 2"),
    ],
)
def test_another_config(stopped: Command, change: tuple[str, ...], said: str) -> None:
    before = contents(stopped.home / "run")
    code, words = stopped.run(*change, "--resume=run")
    assert code == 2
    assert said in sentence(words)
    assert contents(stopped.home / "run") == before
