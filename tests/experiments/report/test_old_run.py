"""A run folder made before there were tasks (`adding --steps 20 --length 5 --hidden-size 4`) can still be read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from experiments.harness.options import flat, option_name
from experiments.registry import read_known_run
from experiments.report import write_report
from tests.experiments.command import command

OLD = Path(__file__).parent / "old_run"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(OLD, tmp_path / "old_run")


def test_inspected(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("inspect", copy) == 0
    printed = capsys.readouterr().out
    for option, value in flat(json.loads((OLD / "config.json").read_text())["config"]).items():
        assert f"  {option_name(option):<28}{value}" in printed
    assert "validation, step 20: mean_square_error" in printed
    assert "test.mean_square_error" in printed
    assert {path.name for path in (copy / "figures").iterdir()} == {"training.png", "training.pdf"}


def test_reported(copy: Path) -> None:
    page = write_report([copy]).read_text(encoding="utf-8")
    results: dict[str, Any] = json.loads((OLD / "results.json").read_text())
    assert f"{results['test']['mean_square_error']:.6g}" in page
    assert "finished" in page


def test_options_that_came_later_are_missing(copy: Path) -> None:
    """An option that a run doesn't know of has its default."""
    described = json.loads((OLD / "config.json").read_text())
    del described["config"]["network"]["dropout"]
    (copy / "config.json").write_text(json.dumps(described))
    assert read_known_run(copy)["config"]["length"] == 5
    assert command("inspect", copy) == 0
