"""Agreement of several processes."""

from unittest.mock import Mock

import numpy as np
import pytest
from jax.sharding import Mesh

from train.processes import agree_to_stop, multihost_utils, sum_over_processes
from train.stop import StopRequest


def test_a_signal_while_they_ask_counts_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after this process has said that it wants to go on: all go on, and all stop after."""
    stop, mesh = StopRequest(), Mock(Mesh, is_multi_process=True)
    asked = 0

    def gather(own: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += 1
        if asked == 1:
            stop.requested, stop.signal = True, 15
        return np.stack([np.zeros_like(own), own])

    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    assert not agree_to_stop(stop, mesh)
    assert agree_to_stop(stop, mesh)
    assert (stop.requested, stop.signal) == (True, 15)


def test_vectors_of_processes_add_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes with the same vector, whose numbers single precision doesn't hold."""
    vector = np.array([2.0**24 + 1, 0.1, 0.0])
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda own: np.stack([own] * 3))
    np.testing.assert_array_equal(sum_over_processes(vector, Mock(Mesh, is_multi_process=True)), vector * 3)
    np.testing.assert_array_equal(sum_over_processes(vector, Mock(Mesh, is_multi_process=False)), vector)
