"""Vectors of sentences by their neighbours: a small run, its parts, mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from data.running_text import RunningConfig, load_running, sentences_of
from experiments.autoencoders.skip_scores import first_share
from models.sentences.skip_thought import split_targets
from tests.experiments.command import command

SUBJECTS, VERBS = ("The cat", "A dog", "My aunt", "The man"), ("sleeps", "eats", "runs", "sings", "waits")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("books")
    rng = np.random.default_rng(0)
    lines = [f"{SUBJECTS[a]} {VERBS[b]}." for a, b in zip(*rng.integers(4, size=(2, 120)), strict=True)]
    (folder / "book.txt").write_text("\n".join(lines))
    return folder


@pytest.mark.full
def test_a_run(books: Path, tmp_path: Path) -> None:
    for label in ("neg", "pos"):
        lines = [f"{one} {verb} {label}\n" for one in SUBJECTS for verb in VERBS]
        (tmp_path / f"few.{label}").write_text("".join(lines))
    sizes = (
        "--hidden-size",
        5,
        "--embedding-size",
        4,
        "--batch-size",
        8,
        "--data.types",
        60,
        "--cell",
        "elman",
    )
    loop = ("--steps", 2, "--eval-every", 2, "--save-every", 2, "--optimizer.warmup-steps", 1, "--devices", 1)
    folder = tmp_path / "run"
    options = ("--data.dir", books, "--probe", tmp_path, *sizes, *loop, "--run-dir", folder)
    assert command("skip_thought", *options) == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results["test"]) == {"cross_entropy", "next", "next_cosine"}
    table = (folder / "table.txt").read_text()
    assert "the nearest test sentences" in table
    assert "means of pieces" in table


def test_sentences_and_chains(tmp_path: Path) -> None:
    assert sentences_of("He came.  “Go!” she\nsaid. No. 5 e.g. this") == [
        "He came.",
        "“Go!” she said.",
        "No. 5 e.g. this",
    ]
    found = "One two. Three four. Five six. Seven eight nine ten. A b. C d. E f. " * 30
    (tmp_path / "a.txt").write_text(found)
    text = load_running(RunningConfig(dir=tmp_path, longest=3, types=60))
    assert text.chains["train"][0] == ["One two.", "Three four.", "Five six."]
    assert text.triples("train")[1] == ("A b.", "C d.", "E f.")


def test_targets_are_split_at_the_first_end() -> None:
    rows = jnp.array([[5, 6, 1, 7, 1, 0], [4, 1, 3, 3, 3, 1]]).T
    (before, one), (after, other) = split_targets(rows, jnp.array([[1, 1, 1, 1, 1, 0], [1] * 6]).T > 0, 1, 4)
    np.testing.assert_array_equal(before.T, [[5, 6, 1, 0], [4, 1, 0, 0]])
    np.testing.assert_array_equal(after.T, [[7, 1, 0, 0], [3, 3, 3, 1]])
    np.testing.assert_array_equal(one.sum(0), [3, 2])
    np.testing.assert_array_equal(other.sum(0), [2, 4])


def test_first_share() -> None:
    assert first_share(np.array([[2.0, 1], [3, 3]])) == 0.5


def test_refuses(refused: Callable[..., None], tmp_path: Path) -> None:
    refused("--data.dir is missing: --preset books", "skip_thought", "--preset", "books")
    refused("has no file that ends in .txt", "skip_thought", "--data.dir", tmp_path)
    refused("--probe must be a folder of classified", "skip_thought", "--probe", tmp_path / "none")
