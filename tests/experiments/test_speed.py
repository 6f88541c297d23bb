"""Speed: what is timed, what is left out and said so, and what a resumed run keeps."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis.figures.lengths import seconds_against_length
from experiments.speed import Config, able_methods, format_table, time_at
from models import Transformer
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
    for name in ("tokens_per_second", "seconds_against_length"):
        assert (folder / f"figures/{name}.png").stat().st_size > 5_000


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


def test_attention_is_timed_whole_at_a_context_of_each_length() -> None:
    """By the one method that it has, beside a recurrent cell by another; drawn in one panel."""
    attention, lru = "transformer(layers=1, context=T)", "lru"
    config = Config(
        cells=(attention, lru), methods=("associative", "whole"), lengths=(3, 6), hidden_size=4, repeats=1
    )
    config.check()
    assert config.cell(attention, 6) == Transformer(4, layers=1, context=6)
    assert able_methods(config.cell(attention, 6)) == ["whole"]
    assert "whole" not in able_methods(config.cell(lru, 6))
    (row,) = time_at(config, attention, ["whole"], 6)
    assert row["rate"] == pytest.approx(8 * 6 / row["seconds"])
    assert not row["fallen"]


def test_seconds_in_one_panel() -> None:
    curves = {
        "lstm, scan": {"length": [4, 16], "seconds": [0.1, 0.4]},
        "attention, whole": {"length": [4], "seconds": [0.2]},
    }
    (ax,) = seconds_against_length(curves).axes
    drawn = {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.get_lines()}
    for name, curve in curves.items():
        np.testing.assert_array_equal(drawn[name], curve["seconds"])
    guides = [np.asarray(line.get_ydata()) for line in ax.get_lines()[-2:]]
    np.testing.assert_allclose(guides, [[0.1, 0.4], [0.1, 1.6]])
