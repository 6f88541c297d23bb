"""`inspect` draws a run's figures anew, and prints its options and last metrics."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.harness.options import flat, option_name
from tests.experiments.command import command

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]


@pytest.mark.parametrize("name", ["adding", pytest.param("gradients", marks=pytest.mark.slow)])
def test_inspect_draws_the_same_figures(
    name: str, finished: Finished, options: Options, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = shutil.copytree(finished(name), tmp_path / "copied")
    drawn = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    shutil.rmtree(folder / "figures")
    capsys.readouterr()
    assert command("inspect", folder) == 0
    said = capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (folder / "figures").iterdir()} == drawn
    assert f"{name}: {folder}" in said
    for key, value in flat(json.loads((folder / "config.json").read_text())["config"]).items():
        shown = " ".join(value) if isinstance(value, list) else str(value)
        assert re.search(rf"^  {option_name(key)} +{re.escape(shown)}$", said, re.MULTILINE)
    assert "validation, step 100: " in said
    assert (
        (folder / "table.txt").read_text() in said
        if name == "gradients"
        else "test.mean_square_error" in said
    )
    assert all(str(folder / "figures" / file) in said for file in drawn)


def test_inspect_unfinished(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "results.json").unlink()
    shutil.rmtree(copied / "arrays")
    assert command("inspect", copied) == 0
    assert "not finished: run the same command with --resume to continue" in capsys.readouterr().out
