"""The benchmark of beam search does one and the same work on every side."""

import importlib.util
from typing import Any

import numpy as np
import pytest

from benchmarks.beam import SIDES, batches, differences, measure
from benchmarks.report import beam


def test_sources_are_sorted_and_padded() -> None:
    found = batches(250)
    assert [mask.shape[1] for _, mask in found] == [100, 100, 50]
    lengths = np.concatenate([mask.sum(axis=0) for _, mask in found])
    assert (np.diff(lengths) >= 0).all()
    assert abs(lengths.mean() - 13) < 1
    for inputs, mask in found:
        assert len(mask) % 4 == 0
        assert ((inputs > 1) == mask).all()


@pytest.mark.parametrize(("tokens", "score"), [([[2, 3]] * 9, -1.0), ([[2, 4]] * 9, -1.01)])
def test_other_work_is_refused(tokens: list, score: float) -> None:
    ours: dict[str, Any] = {"tokens": [[2, 4]] * 9, "scores": [-1.0] * 9}
    assert differences(ours | {"tokens": [[2, 3], *ours["tokens"][1:]]}, ours) == 1
    with pytest.raises(ValueError, match="not the same work"):
        differences({"tokens": tokens, "scores": [score] * 9}, ours)


@pytest.mark.full
def test_sides_agree() -> None:
    """Real processes: the same translations and scores, or `measure` raises; PyTorch's where it is installed."""
    rows = measure(say=lambda *_, **__: None, rounds=1, sentences=20)
    sides = SIDES if importlib.util.find_spec("torch") else SIDES[:-1]
    assert [row["side"] for row in rows] == list(sides)
    for row in rows:
        assert row["sentences_per_second"] == pytest.approx(20 / row["quartiles"][1])
        assert row["different"] == 0
        assert 5 < row["words"] < 25
    assert len(beam(rows)) == 4 + len(sides)
