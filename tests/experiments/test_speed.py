"""Speed: what is timed, what is left out and said so, and what a resumed run keeps."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.speed import format_table
from tests.experiments.command import command

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]


def test_what_a_run_leaves(finished: Finished) -> None:
    """Elman can't go by associative scan; Newton's Jacobians fit at length 4 and not at 16."""
    folder = finished("speed")
    results = json.loads((folder / "results.json").read_text())["elman"]
    assert list(results) == ["scan", "newton"]
    assert results["scan"]["length"] == [4, 16]
    assert results["newton"]["length"] == [4]
    for curve in results.values():
        for length, seconds, rate in zip(curve["length"], curve["seconds"], curve["rate"], strict=True):
            assert rate == pytest.approx(2 * length / seconds)  # two sequences
            assert 0 < seconds < 10
    assert results["scan"]["rounds"] == [0, 0]
    assert 1 <= results["newton"]["rounds"][0] <= 4  # as many as there are steps, at most
    assert results["newton"]["fallen"] == [False]
    table = (folder / "table.txt").read_text().splitlines()
    assert table[2].split()[:2] == ["elman", "newton"]
    assert table[2].split()[3:] == [f"({results['newton']['rounds'][0]})", "left", "out"]
    assert (folder / "figures/tokens_per_second.png").stat().st_size > 5_000


def test_resumed_run_keeps_what_it_has(
    finished: Finished, options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(finished("speed"), tmp_path / "run")
    results, array = (folder / "results.json").read_text(), (folder / "arrays/elman.npz").read_bytes()
    (folder / "results.json").unlink()
    assert command("speed", *options["speed"], "--resume", folder) == 0
    assert "elman: timed before" in capsys.readouterr().out
    assert (folder / "results.json").read_text() == results
    assert (folder / "arrays/elman.npz").read_bytes() == array


def test_table_tells_of_newton_falling_back() -> None:
    column = {"length": np.array([8]), "rate": np.array([2500.0])}
    fallen = column | {"rounds": np.array([100]), "fallen": np.array([True])}
    table = format_table({"lstm": {"scan": column, "newton": fallen}}).splitlines()
    assert table[1].split() == ["lstm", "scan", "2.5"]
    assert table[2].split() == ["lstm", "newton", "2.5", "(100*)"]
