"""A run's folder is one process's at a time."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.harness.lock import LOCK, acquire, release


@pytest.fixture(autouse=True)
def let_go() -> Iterator[None]:
    yield
    release()


def test_held_by_one(tmp_path: Path) -> None:
    acquire(tmp_path)
    with pytest.raises(
        ValueError, match=rf"is being written by process {os.getpid()} on .*another --run-dir"
    ):
        acquire(tmp_path)
    release()
    assert not (tmp_path / LOCK).exists()
    acquire(tmp_path)


def test_taken_away_between_opening_and_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder lets go just then: what is locked must be the file that the next one finds."""
    lock, taken = fcntl.flock, []

    def flock(file: Any, how: int) -> None:
        if not taken:
            taken.append((tmp_path / LOCK).unlink())
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    acquire(tmp_path)
    with pytest.raises(ValueError, match="is being written by"):
        acquire(tmp_path)
