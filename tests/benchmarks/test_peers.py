"""PyTorch and Equinox take part with the same weights and inputs."""

import pytest

from benchmarks.compare import compare, peers
from benchmarks.work import FAMILIES, Work

pytestmark = pytest.mark.peers


@pytest.mark.full
def test_all_agree() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("equinox")
    works = [Work(family, 5, 4, 3, 4) for family in FAMILIES]
    rows = compare(peers(2), works, rounds=1, seconds=0.0, say=lambda *_, **__: None)
    assert len(rows) == 2 * (9 + 11 + 11)  # Equinox has no Elman cell
