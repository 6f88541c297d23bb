"""Runs that whatever may happen happens to, in real processes: each ends as if nothing had, or says what is wrong.

What compiled once is kept for all of a module's processes; the runs are tiny, for each process begins with imports.
"""

import os
import signal
import subprocess
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.experiments.command import command
from tests.experiments.processes import (
    MOMENTS,
    Command,
    disturb,
    finish,
    last_step,
    outcome,
    sentence,
    wait_for,
)
from train import Checkpoints

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_task")]

LAST = 600
STEPS = (
    f"--steps={LAST}",
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

Made = Callable[..., Command]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A command in a folder of its own, and more of its words."""

    def make(kind: str, *more: str) -> Command:
        home = tmp_path_factory.mktemp("home")
        (home / "text.txt").write_text(PROSE * 40)
        return Command(home, {"memory": ADDING, "text": TEXT}[kind] + more)

    return make


@pytest.fixture(scope="module", params=["memory", pytest.param("text", marks=pytest.mark.full)])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(made: Made, kind: str) -> Path:
    """The run that nothing happened to."""
    command = made(kind)
    code, said = command.run("--run-dir=run")
    assert code == 0, said
    return command.home / "run"


@pytest.mark.full
def test_the_same_twice(made: Made, kind: str, whole: Path) -> None:
    """Bit for bit, compiled anew or not."""
    command = made(kind)
    fresh = Command(command.home, command.arguments, anew=True)
    code, said = fresh.run("--run-dir=run")
    assert code == 0, said
    assert outcome(command.home / "run") == outcome(whole)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
EACH_ONCE = list(zip(SIGNALS, MOMENTS, strict=True))
# In CI the two later moments: at the first there is no folder yet.
CHOSEN = [EACH_ONCE[1:], pytest.param(EACH_ONCE, marks=pytest.mark.full)]


@pytest.mark.full
@pytest.mark.parametrize("chosen", CHOSEN, ids=["two", "three"])
def test_signals_at_any_moment(
    chosen: Iterable[tuple[signal.Signals, str]], made: Made, kind: str, whole: Path
) -> None:
    """One after another, on one run that is resumed each time."""
    command = made(kind)
    disturbed(command, chosen, LAST)
    assert outcome(command.home / "run") == outcome(whole)


@pytest.mark.full
def test_twenty_signals(made: Made, kind: str) -> None:
    random = np.random.default_rng(5)
    chosen = [
        (SIGNALS[random.integers(3)], str(random.choice(MOMENTS, p=[0.2, 0.4, 0.4]))) for _ in range(20)
    ]
    assert {moment for _, moment in chosen} == set(MOMENTS)
    command, alone = made(kind, "--steps=2400"), made(kind, "--steps=2400")
    disturbed(command, chosen, 2400)
    assert alone.run("--run-dir=run")[0] == 0
    assert outcome(command.home / "run") == outcome(alone.home / "run")


def disturbed(command: Command, chosen: Iterable[tuple[signal.Signals, str]], last: int) -> None:
    """Runs to the last step, however often it is disturbed."""
    run, random, met = command.home / "run", np.random.default_rng(5), []
    for number, moment in chosen:
        begun = (run / "config.json").exists()
        process = command.start("--resume=run" if begun else "--run-dir=run")
        disturb(process, run, number, moment, random)
        code, said = finish(process)
        met.append((number, moment, code, last_step(run)))
        # Before the run's folder is there, a signal ends the process as it ends any other.
        assert code in ((-number,) if number == signal.SIGKILL else (-number, 128 + number)), (met, said)
        assert begun <= (run / "config.json").exists()
        if code == 128 + number:
            assert "--resume run" in said, said
        steps = Checkpoints(run / "checkpoints").steps()
        assert not steps or steps[-1] < last, f"too few steps for so many rounds: {met}"
    code, said = command.run("--resume=run")
    assert code == 0, (met, said)


# --- damage


@pytest.fixture(scope="module")
def stopped(made: Made) -> Command:
    """A memory run that was stopped before half of its steps."""
    command = made("memory")
    process = command.start("--run-dir=run")
    wait_for(lambda: last_step(command.home / "run") >= 240, process)
    process.terminate()
    assert finish(process)[0] == 128 + signal.SIGTERM
    return command


Here = Callable[[Command], tuple[int, str]]


@pytest.fixture
def resume_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Goes on with a command's run in this process, which has compiled it already: the exit code and all words."""

    def resume(stopped: Command) -> tuple[int, str]:
        monkeypatch.chdir(stopped.home)
        capsys.readouterr()
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            code = command(*stopped.arguments, "--resume=run")
        said = "".join((*capsys.readouterr(), *(str(warning.message) for warning in met)))
        assert "Traceback" not in said
        return code, said

    return resume


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


HARMS = [flip, *(pytest.param(harm, marks=pytest.mark.full) for harm in (truncate, Path.unlink))]
CLASSES = {
    "the leaves' values": "checkpoints/{step}/state/d/*",
    "the leaves' metadata": "checkpoints/{step}/state/_METADATA",
    "the manifest, with the data's position and the checksums": "checkpoints/{step}/manifest.json",
    "all there is of a checkpoint": "checkpoints/{step}/**/*",
    "the metrics": "metrics.jsonl",
}
IN_CI = ("the leaves' values", "the metrics")


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(
    "files",
    [
        pytest.param(files, id=name, marks=[] if name in IN_CI else [pytest.mark.full])
        for name, files in CLASSES.items()
    ],
)
@pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")
def test_damage(
    made: Made, stopped: Command, whole: Path, resume_here: Here, files: str, harm: Callable[[Path], None]
) -> None:
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
    code, said = resume_here(command)
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


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")
@pytest.mark.parametrize("name", [pytest.param("config.json", marks=pytest.mark.full), "environment.json"])
def test_damage_to_what_says_what_it_is(
    made: Made, stopped: Command, whole: Path, resume_here: Here, name: str, harm: Callable[[Path], None]
) -> None:
    """A sentence names the file, or the option that a flipped bit has changed, and all is as it was; or the end is
    the same."""

    command = made("memory")
    run = copied(stopped.home / "run", command.home / "run")
    harm(run / name)
    before = contents(run)
    code, said = resume_here(command)
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


@pytest.mark.full
@pytest.mark.parametrize("kind", ["memory"], indirect=True, scope="module")
def test_two_runs_on_one_folder(made: Made, whole: Path) -> None:
    """The second is refused whichever way it is started, and the first is as if it had been alone."""
    command = made("memory")
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
    assert outcome(run) == outcome(whole)
    assert not (run / ".lock").exists()


@pytest.mark.full
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
        *(
            pytest.param(change, said, marks=pytest.mark.full)
            for change, said in (
                (("--devices=2",), "run was begun with --devices 1, not 2"),
                (
                    ("--optimizer.learning-rate=0.1",),
                    "run was begun with --optimizer.learning-rate 0.003, not 0.1",
                ),
                (("--seed=1",), "run was begun with --seed 0, not 1"),
                (("--steps=20",), "steps already: resume with --steps"),
            )
        ),
    ],
)
def test_another_config(stopped: Command, change: tuple[str, ...], said: str) -> None:
    before = contents(stopped.home / "run")
    code, words = stopped.run(*change, "--resume=run")
    assert code == 2
    assert said in sentence(words)
    assert contents(stopped.home / "run") == before
