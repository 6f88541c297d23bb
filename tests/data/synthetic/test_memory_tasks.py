"""The tasks are what their papers say, to the symbol, and the same bytes everywhere."""

import functools
import hashlib
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest

from data import (
    Batch,
    adding,
    adding_baseline,
    copy_baseline,
    copy_memory,
    temporal_order,
    temporal_order_baseline,
)

KEY = jax.random.key(7, impl="threefry2x32")


class Arrays(NamedTuple):
    """A batch in NumPy."""

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray


def to_numpy(batch: Batch) -> Arrays:
    return Arrays(*(np.asarray(leaf) for leaf in batch))


def draw(task: Callable[..., Batch], size: int, batch_size: int) -> Arrays:
    """Compiled whole: operation by operation would compile each of them for each size."""
    return to_numpy(jax.jit(task, static_argnums=(1, 2))(KEY, batch_size, size))


def digest(batch: Batch) -> str:
    sha = hashlib.sha256()
    for leaf in to_numpy(batch):
        sha.update(f"{leaf.dtype}{leaf.shape}".encode())
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()[:16]


TASKS = {
    "adding": functools.partial(adding, length=25),
    "copy_memory": functools.partial(copy_memory, blanks=13),
    "temporal_order": functools.partial(temporal_order, length=37),
}
GOLDEN = {
    "adding": "bd923ff982791482",
    "copy_memory": "2699169526a16c36",
    "temporal_order": "7504b66036276394",
}


@pytest.mark.parametrize("name", TASKS)
def test_bytes_of_a_key_never_change(name: str) -> None:
    compiled = jax.jit(TASKS[name], static_argnums=1)
    assert digest(compiled(KEY, 5)) == GOLDEN[name]
    assert digest(compiled(jax.random.key(8), 5)) != GOLDEN[name]


def test_bytes_are_the_same_without_compiling_the_whole() -> None:
    assert digest(TASKS["adding"](KEY, 5)) == GOLDEN["adding"]


@pytest.mark.parametrize("name", TASKS)
def test_types_and_a_mask_without_padding(name: str) -> None:
    batch = to_numpy(jax.jit(TASKS[name], static_argnums=1)(KEY, 5))
    assert batch.inputs.dtype == np.float32
    assert batch.targets.dtype == (np.float32 if name == "adding" else np.int32)
    assert batch.mask.dtype == bool
    assert batch.mask.shape == batch.inputs.shape[:2]
    assert batch.mask.all()


@pytest.mark.parametrize(("length", "batch_size"), [(2, 30), (3, 1), (7, 30), (40, 30)])
def test_adding_marks_one_step_in_each_half_and_asks_for_their_sum(length: int, batch_size: int) -> None:
    batch = draw(adding, length, batch_size)
    assert batch.inputs.shape == (length, batch_size, 2)
    assert batch.targets.shape == (batch_size,)
    for b in range(batch_size):
        values, markers = batch.inputs[:, b, 0], batch.inputs[:, b, 1]
        first, second = np.flatnonzero(markers)
        assert first < length // 2 <= second
        assert set(markers.tolist()) <= {0.0, 1.0}
        assert batch.targets[b] == values[first] + values[second]
        assert np.all((values >= 0) & (values < 1))


def test_adding_is_uniform_in_values_and_places() -> None:
    length, batch_size = 11, 20_000
    batch = draw(adding, length, batch_size)
    values = np.sort(batch.inputs[..., 0].ravel().astype(np.float64))
    # Kolmogorov-Smirnov at a level of about 1e-6.
    distance = np.max(np.abs(values - (np.arange(values.size) + 0.5) / values.size))
    assert distance < 2.7 / math.sqrt(values.size)
    places = batch.inputs[..., 1].sum(axis=1)
    for half in (places[:5], places[5:]):
        assert chi_square(half) < 35  # at most 5 degrees of freedom: about 1e-6


def test_adding_baseline_is_the_error_of_answering_one() -> None:
    targets = draw(adding, 2, 200_000).targets.astype(np.float64)
    error = (targets - 1) ** 2
    assert abs(error.mean() - adding_baseline()) < 5 * error.std() / math.sqrt(error.size)


@pytest.mark.parametrize(("blanks", "batch_size"), [(1, 30), (2, 1), (30, 30)])
def test_copy_is_what_a_plain_loop_writes(blanks: int, batch_size: int) -> None:
    batch = draw(copy_memory, blanks, batch_size)
    assert batch.inputs.shape == (blanks + 20, batch_size, 10)
    assert batch.targets.shape == (blanks + 20, batch_size)
    assert np.all(batch.inputs.sum(axis=-1) == 1)
    for b in range(batch_size):
        shown = [int(np.flatnonzero(row)[0]) for row in batch.inputs[:, b]]
        symbols = shown[:10]
        assert all(0 <= symbol < 8 for symbol in symbols)
        expected_inputs, expected_targets = [], []
        for step in range(blanks + 20):
            if step < 10:
                expected_inputs.append(symbols[step])
            elif step == 10 + blanks - 1:
                expected_inputs.append(9)
            else:
                expected_inputs.append(8)
            expected_targets.append(symbols[step - blanks - 10] if step >= blanks + 10 else 8)
        assert shown == expected_inputs
        assert batch.targets[:, b].tolist() == expected_targets


def test_copy_symbols_are_uniform_at_every_place() -> None:
    targets = draw(copy_memory, 1, 4000).targets[-10:]
    for place in targets:
        assert chi_square(np.bincount(place, minlength=8)) < 42  # 7 degrees of freedom: below 1e-6


def test_copy_baseline_is_the_loss_without_a_memory() -> None:
    blanks, batch_size = 17, 64
    targets = draw(copy_memory, blanks, batch_size).targets
    probabilities = np.zeros((blanks + 20, batch_size, 10))
    probabilities[: blanks + 10, :, 8] = 1
    probabilities[blanks + 10 :, :, :8] = 1 / 8
    chosen = np.take_along_axis(probabilities, targets[..., None], axis=-1)
    np.testing.assert_allclose(-np.log(chosen).mean(), copy_baseline(blanks), rtol=1e-12)


# The shortest, those around where the first range no longer meets the start, and long ones.
@pytest.mark.parametrize(("length", "batch_size"), [(n, 30) for n in (4, 5, 9, 10, 110)] + [(20, 1)])
def test_temporal_order_shows_two_symbols_among_distractors(length: int, batch_size: int) -> None:
    batch = draw(temporal_order, length, batch_size)
    assert batch.inputs.shape == (length, batch_size, 8)
    assert np.all(batch.inputs.sum(axis=-1) == 1)
    names = "XYabcdEB"
    for b in range(batch_size):
        text = "".join(names[int(np.flatnonzero(row)[0])] for row in batch.inputs[:, b])
        assert text[0] == "E"
        assert text[-1] == "B"
        assert set(text[1:-1]) <= set("XYabcd")
        first, second = (step for step, symbol in enumerate(text) if symbol in "XY")
        assert max(1, length // 10) <= first <= max(1, length * 2 // 10)
        assert length * 5 // 10 <= second <= length * 6 // 10
        assert ["XX", "XY", "YX", "YY"][batch.targets[b]] == text[first] + text[second]


def test_temporal_order_is_uniform_in_classes_places_and_distractors() -> None:
    batch = draw(temporal_order, 100, 20_000)
    assert chi_square(np.bincount(batch.targets, minlength=4)) < 31  # 3 degrees of freedom: about 1e-6
    places = batch.inputs[..., :2].sum(axis=(1, 2))
    for start in (10, 50):
        assert np.all(places[start : start + 11] > 0)
        assert chi_square(places[start : start + 11]) < 48  # 10 degrees of freedom
    assert places.sum() == places[10:21].sum() + places[50:61].sum()
    assert chi_square(batch.inputs[1:-1, :, 2:6].sum(axis=(0, 1))) < 31


def test_temporal_order_baseline_is_the_accuracy_of_one_answer() -> None:
    targets = draw(temporal_order, 20, 40_000).targets
    for answer in range(4):
        assert abs(np.mean(targets == answer) - temporal_order_baseline()) < 5 * math.sqrt(3 / 16 / 40_000)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: adding(KEY, 4, 1), "length is 1"),
        (lambda: copy_memory(KEY, 4, 0), "blanks is 0"),
        (lambda: temporal_order(KEY, 4, 3), "length is 3"),
        (lambda: adding(KEY, 0, 10), "batch_size is 0"),
    ],
)
def test_sizes_for_which_there_is_no_task_are_refused(make, words) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def chi_square(counts: np.ndarray) -> float:
    """Against equal expected counts."""
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())
