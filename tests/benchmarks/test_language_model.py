"""The benchmark of a language model's training step does one and the same work on every side."""

import importlib.util

import numpy as np
import pytest

from benchmarks.language_model import SIDES, B, T, measure
from benchmarks.report import language_model
from benchmarks.training_steps import difference


def test_difference() -> None:
    """Relative, the largest of all."""
    assert difference([1.0, 2.2, 3.0], [1.0, 2.0, 3.0]) == pytest.approx(0.1)
    assert np.isnan(difference([float("nan")], [1.0]))


@pytest.mark.full
def test_sides_agree() -> None:
    """Real processes: from the same weights the same losses for 20 updates, PyTorch's too where it is installed, or
    `measure` raises."""
    rows = measure(say=lambda *_, **__: None, rounds=1)
    sides = SIDES if importlib.util.find_spec("torch") else SIDES[:-1]
    assert [row["side"] for row in rows] == list(sides)
    for row in rows:
        assert row["tokens_per_second"] == pytest.approx(T * B / row["quartiles"][1])
        assert row["apart"] < 1e-3
    assert len(language_model(rows)) == 4 + len(sides)
