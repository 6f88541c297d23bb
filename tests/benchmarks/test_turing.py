"""The benchmark of a machine's training step does one and the same work on every side."""

import pytest

from benchmarks.report import turing
from benchmarks.turing import SIDES, measure, sequences


def test_sequences_are_those_of_the_preset() -> None:
    drawn = sequences(steps=2)
    assert drawn.inputs.shape == (2, 41, 32, 9)
    assert drawn.targets.shape == (2, 41, 32, 8)
    assert (drawn.mask.sum(axis=1) % 2 == 1).all()  # vectors twice, and the end


@pytest.mark.full
@pytest.mark.peers
def test_sides_agree() -> None:
    """Real processes: from the same weights the same losses, or `measure` raises."""
    pytest.importorskip("torch")
    rows = measure(say=lambda *_, **__: None, rounds=2)
    assert [row["side"] for row in rows] == list(SIDES)
    assert all(row["apart"] < 1e-3 for row in rows)
    assert len(turing(rows)) == 4 + len(SIDES)


def test_without_pytorch_there_is_no_ratio() -> None:
    rows = [{"side": "ours", "quartiles": [0.04, 0.05, 0.06], "tokens_per_second": 20.0}]
    assert turing(rows)[-1] == "| ours | 50 (20) | 20.0 | – |"
