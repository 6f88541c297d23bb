"""Probes of sentences: by hand on vectors whose answers are known, and a small run."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from data.running_text import RunningConfig, load_running
from experiments.autoencoders.probes import (
    PROBES,
    chance,
    nearest_is_of_same,
    placed,
    shortened,
    swapped,
    told_apart,
)
from experiments.autoencoders.skip_scores import next_first, word_counts
from tests.experiments.command import command

SENTENCES = [
    f"{a} {b} {c}" for a in ("ann", "ben", "cleo", "dan") for b in ("saw", "met") for c in ("x", "y")
]


def test_damage() -> None:
    """Two neighbouring words swapped, or one left out; None where that changes nothing or leaves nothing."""
    rng = np.random.default_rng(0)
    assert {swapped("a b c", rng) for _ in range(50)} == {"b a c", "a c b"}
    assert {swapped("a a b", rng) for _ in range(50)} == {"a b a"}
    assert {shortened("a b c", rng) for _ in range(50)} == {"b c", "a c", "a b"}
    assert swapped("a a", rng) is None
    assert shortened("a", rng) is None


def test_told_apart_by_what_vectors_hold() -> None:
    """Counts of words know nothing of their order, places all of it; both know how many there are."""

    def places(sentences: Sequence[str]) -> np.ndarray:
        known = sorted({word for one in SENTENCES for word in one.split()})
        rows = np.zeros((len(sentences), 3, len(known)))
        for row, one in zip(rows, sentences, strict=True):
            for place, word in enumerate(one.split()):
                row[place, known.index(word)] = 1
        return rows.reshape(len(sentences), -1)

    def counts(sentences: Sequence[str]) -> np.ndarray:
        return places(sentences).reshape(len(sentences), 3, -1).sum(axis=1)

    assert told_apart(counts, SENTENCES, swapped) == 0.5
    assert told_apart(places, SENTENCES, swapped) > 0.9
    assert told_apart(counts, SENTENCES, shortened) > 0.9


def test_neighbours_by_hand() -> None:
    vectors = {"a": [1.0, 0.1], "b": [2.0, 0.0], "c": [0.1, 1.0], "d": [0.0, 3.0]}

    def of(sentences: Sequence[str]) -> np.ndarray:
        return np.array([vectors[one] for one in sentences])

    assert next_first(of, [[("a", "b"), ("c", "d")]]) == 1
    assert next_first(of, [[("a", "d"), ("c", "b")]]) == 0
    assert next_first(of, [[("a", "b"), ("c", "d")], [("a", "d"), ("c", "b")]]) == 0.5
    assert nearest_is_of_same(of(["a", "b", "c", "d"]), np.array([0, 0, 1, 1])) == 1
    assert nearest_is_of_same(of(["a", "b", "c", "d"]), np.array([0, 1, 2, 2])) == 0.5


def test_tales_are_texts_and_guessing_is_counted() -> None:
    """40 tales of 8 sentences: 7 of the 319 others are of the same one."""
    text = load_running(RunningConfig())
    sentences, texts = placed(text)
    assert len(sentences) == len(texts) == 320
    np.testing.assert_array_equal(np.bincount(texts), 8)
    found = chance(text)
    assert list(found) == list(PROBES)
    assert found["same text"] == pytest.approx(7 / 319)
    assert found["word order"] == found["missing word"] == 0.5
    assert found["next sentence"] == 0.01
    rows = word_counts(text)(sentences[:2])
    assert (rows > 0).sum(axis=1).tolist() == [5, 5]  # of five different words each


@pytest.mark.full
def test_a_run(tmp_path: Path) -> None:
    sizes = ("--hidden-size", 5, "--embedding-size", 4, "--batch-size", 8, "--cell", "elman")
    loop = ("--steps", 2, "--eval-every", 2, "--save-every", 2, "--optimizer.warmup-steps", 1, "--devices", 1)
    assert command("sentence_probes", *sizes, *loop, "--run-dir", tmp_path / "run") == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())["probes"]
    assert set(found) == {"autoencoder", "skip-thought", "word counts", "guessing"}
    assert found["word counts"]["word order"] == 0.5
    assert all(0 <= value <= 1 for scores in found.values() for value in scores.values())
    assert (tmp_path / "run" / "figures" / "probes.png").stat().st_size > 5_000


def test_refuses(refused: Callable[..., None], tmp_path: Path) -> None:
    refused("has no file that ends in .txt", "sentence_probes", "--data.dir", tmp_path)
    refused("looks into one recurrence", "sentence_probes", "--health.every", 5)
