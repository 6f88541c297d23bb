"""One sentence and exit code 2 where a run's folder is taken, damaged, or another run's; it stays as it was."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.harness.resuming import resumed_folder

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]


def test_taken_folder(mistake: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    assert "error: taken exists already: choose another --run-dir" in mistake("adding", "--run-dir", "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]
    said = mistake("adding", "--run-dir", "taken/mine.txt")
    assert "error: taken/mine.txt exists already" in said
    assert "Not a directory" in mistake("adding", "--run-dir", "taken/mine.txt/run")
    assert "taken is not a run folder" in mistake("adding", "--resume", "taken")
    assert "taken is not a run folder" in mistake("inspect", "taken")


def test_resume_refuses_another_run(mistake: Callable[..., str], copied: Path, options: Options) -> None:
    """With another option, or of another experiment, or of fewer steps; the run stays as it was."""
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    given = ("adding", *options["adding"], "--resume", copied)
    said = mistake(*given, "--length", 11)
    assert (
        said
        == f"error: {copied} was begun with --length 10, not 11: resume with the same, or begin a new run"
    )
    assert "was begun with --cell elman, not lstm" in mistake(*given, "--cell", "lstm")
    assert "with --optimizer.clip-at 1.0, not 2.0" in mistake(*given, "--optimizer.clip-at", 2)
    assert f"{copied} is a run of adding, not of digits" in mistake("digits", "--resume", copied)
    said = mistake(*given, "--steps", 99)
    assert said == f"error: {copied} has been trained for 100 steps already: resume with --steps 100 or more"
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before


def test_refused_where_no_checkpoint_is_whole(
    mistake: Callable[..., str], copied: Path, options: Options
) -> None:
    """And nothing is written: results, config and all else stay, byte for byte."""
    steps = sorted((copied / "checkpoints").iterdir())
    assert len(steps) == 2
    for step in steps:
        os.truncate(step / "state" / "_METADATA", 7)
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    said = mistake("adding", *options["adding"], "--resume", copied, "--steps", 999)
    assert "100 is damaged (state/_METADATA has been altered), and so are all older checkpoints" in said
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before
    assert copied / "results.json" in before


@pytest.mark.parametrize("name", ["config.json", "environment.json", "nonfinite.json", "metrics.jsonl"])
def test_refused_where_a_file_is_nested_without_end(
    mistake: Callable[..., str], copied: Path, options: Options, name: str
) -> None:
    (copied / name).write_text("[" * 100_000 + "\n")
    before = {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()}
    said = mistake("adding", *options["adding"], "--resume", copied)
    assert f"{copied / name} " in said
    assert {p: p.read_bytes() for p in copied.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_resume_refuses_another_models_checkpoint(
    mistake: Callable[..., str], copied: Path, options: Options, finished: Finished
) -> None:
    shutil.rmtree(copied / "checkpoints")
    shutil.copytree(finished("copy_memory") / "checkpoints", copied / "checkpoints")
    said = mistake("adding", *options["adding"], "--resume", copied)
    assert f"{copied}/checkpoints/100" in said
    assert "is a checkpoint of another run: --length was 5 there and is 10 here" in said
    assert said.count("error: ") == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"experiment": 3, "config": {}}', "\x00"])
def test_damaged_config(mistake: Callable[..., str], copied: Path, content: str) -> None:
    (copied / "config.json").write_text(content)
    for arguments in (("inspect", copied), ("adding", "--resume", copied)):
        assert mistake(*arguments) == (
            f"error: {copied}/config.json is damaged: copy config.json from a run with the same options, or "
            "start a new run"
        )


@pytest.mark.parametrize("name", ["environment.json", "results.json", "arrays/curves.npz"])
def test_damaged_run(mistake: Callable[..., str], copied: Path, name: str) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[:-20])
    assert f"error: {path} is damaged: " in mistake("inspect", copied)
    path.write_bytes(b"")
    assert f"error: {path} is damaged: " in mistake("inspect", copied)
    path.write_text('[{"devices": []}]')  # JSON, but not what a run writes there
    assert f"error: {path} is damaged: " in mistake("inspect", copied)
    path.unlink()
    if name != "results.json":  # without it the run counts as unfinished
        assert name in mistake("inspect", copied)


@pytest.mark.parametrize("named", ["runs/x/", "./runs/x", str(Path("runs/x"))])
def test_one_folder_named_twice(named: str) -> None:
    assert resumed_folder("adding", Path("runs/x"), named) == Path("runs/x")
