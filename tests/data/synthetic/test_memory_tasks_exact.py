"""Flip-flop and delayed recall are what a plain loop writes, and the same bytes everywhere."""

import functools
import math
from collections.abc import Callable

import jax
import numpy as np
import pytest

from data import Batch, delayed_recall, delayed_recall_baseline, flip_flop
from tests.data.synthetic.test_memory_tasks import KEY, digest, to_numpy

GOLDEN = {"flip_flop": "96d836d5979d578e", "delayed_recall": "d4502074846cf01a"}
TASKS: dict[str, Callable[..., Batch]] = {
    "flip_flop": functools.partial(flip_flop, length=23, bits=3, probability=0.2),
    "delayed_recall": functools.partial(delayed_recall, length=25, delay=7),
}


@pytest.mark.parametrize("name", TASKS)
def test_bytes_of_a_key_never_change(name: str) -> None:
    batch = jax.jit(TASKS[name], static_argnums=1)(KEY, 5)
    assert digest(batch) == GOLDEN[name]
    arrays = to_numpy(batch)
    assert (arrays.inputs.dtype, arrays.targets.dtype) == (np.float32, np.float32)
    assert arrays.mask.shape == arrays.inputs.shape[:2]
    assert arrays.mask.all()


@pytest.mark.parametrize(
    ("length", "bits", "probability"), [(1, 2, 0.5), (40, 3, 0.1), (15, 1, 0.0), (9, 4, 1.0)]
)
def test_flip_flop_holds_the_last_pulse(length: int, bits: int, probability: float) -> None:
    batch = to_numpy(flip_flop(KEY, 6, length, bits, probability))
    assert batch.inputs.shape == batch.targets.shape == (length, 6, bits)
    assert set(np.unique(batch.inputs)) <= {-1.0, 0.0, 1.0}
    for b in range(6):
        held = [0.0] * bits
        for t in range(length):
            for i in range(bits):
                pulse = batch.inputs[t, b, i]
                held[i] = float(pulse) if pulse else held[i]
                assert pulse != 0 or (t > 0 and probability < 1)
                assert t == 0 or pulse == 0 or probability > 0
            assert batch.targets[t, b].tolist() == held


def test_pulses_come_as_often_as_asked_with_either_sign() -> None:
    inputs = to_numpy(flip_flop(KEY, 2000, 41, 3, 0.05)).inputs[1:].astype(np.float64)
    count = inputs.size
    assert abs(np.abs(inputs).mean() - 0.05) < 5 * math.sqrt(0.05 * 0.95 / count)
    assert abs(inputs.mean()) < 5 * math.sqrt(0.05 / count)
    channels = np.abs(inputs).reshape(-1, 3)
    together = np.mean(channels[:, 0] * channels[:, 1])  # apart from one another
    assert abs(together - 0.0025) < 5 * math.sqrt(0.0025 / len(channels))


@pytest.mark.parametrize(("length", "delay"), [(1, 0), (6, 0), (12, 5), (6, 5)])
def test_delayed_recall_asks_for_what_was_shown(length: int, delay: int) -> None:
    batch = to_numpy(delayed_recall(KEY, 4, length, delay))
    assert np.all((batch.inputs >= -1) & (batch.inputs < 1))
    for b in range(4):
        shown = batch.inputs[:, b, 0].tolist()
        wanted = [shown[t - delay] if t >= delay else 0.0 for t in range(length)]
        assert batch.targets[:, b, 0].tolist() == wanted


def test_delayed_recall_baseline_is_the_error_of_answering_zero() -> None:
    targets = to_numpy(delayed_recall(KEY, 20_000, 8, 3)).targets.astype(np.float64)
    squares = np.mean(targets[..., 0] ** 2, axis=0)
    assert abs(squares.mean() - delayed_recall_baseline(8, 3)) < 5 * squares.std() / math.sqrt(squares.size)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: flip_flop(KEY, 4, 0), "length is 0"),
        (lambda: flip_flop(KEY, 0, 5), "batch_size is 0"),
        (lambda: flip_flop(KEY, 4, 5, bits=0), "bits is 0"),
        (lambda: flip_flop(KEY, 4, 5, probability=1.5), "probability is 1.5"),
        (lambda: flip_flop(KEY, 4, 5, probability=math.nan), "probability is nan"),
        (lambda: delayed_recall(KEY, 4, 5, delay=5), "length is 5"),
        (lambda: delayed_recall(KEY, 4, 5, delay=-1), "delay is -1"),
    ],
)
def test_sizes_for_which_there_is_no_task_are_refused(make: Callable[[], Batch], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
