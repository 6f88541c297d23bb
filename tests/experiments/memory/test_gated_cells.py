"""Gated cells: the sizes of the nets by hand, and what a small run leaves."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.memory.gated_cells import cells, count_parameters, count_weights
from models import GRU, LSTM, Elman
from tests.experiments.command import command


def test_parameters_by_hand() -> None:
    assert count_parameters(LSTM(5)) == 4 * (5 * 5 + 2 * 5 + 5)
    assert count_parameters(Elman(5)) == 5 * 5 + 2 * 5 + 5
    assert count_weights(LSTM(5)) == 4 * (5 * 5 + 2 * 5)
    assert count_weights(GRU(5)) == 3 * (5 * 5 + 2 * 5)


def test_the_wide_gru_is_the_nearest_in_parameters() -> None:
    for size in (1, 3):
        wide, wanted = cells(size)["gru_wide"], 4 * (size * size + 2 * size + size)
        assert isinstance(wide, GRU)
        misses = {units: abs(count_parameters(GRU(units)) - wanted) for units in range(size, 2 * size + 1)}
        assert misses[wide.hidden_size] == min(misses.values())


@pytest.mark.full
def test_what_a_run_leaves(tmp_path: Path) -> None:
    """The results list the losses of every seed; a resumed run trains none again."""
    small = ("gated_cells", "--seeds", 2, "--hidden-size", 3, "--batch-size", 4, "--steps", 5, "--length", 4)
    assert command(*small, "--run-dir", tmp_path / "run") == 0
    results = (tmp_path / "run" / "results.json").read_bytes()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "arrays").iterdir()}
    for name, row in json.loads(results).items():
        with np.load(tmp_path / "run" / "arrays" / f"{name}.npz") as arrays:
            assert row["losses"] == arrays["held_out"].tolist()
            assert row["parameters"] == arrays["parameters"]
    assert command(*small, "--resume", tmp_path / "run") == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (tmp_path / "run" / "results.json").read_bytes() == results
