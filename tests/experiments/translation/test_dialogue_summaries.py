"""Dialogue and summaries from the command line; shuffled partners; mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data import ParallelConfig
from experiments.translation.dialogue import Config, shuffled_batches, unigram
from tests.experiments.command import command

SIZES = (
    *("--hidden-size", 6, "--batch-size", 6, "--steps", 3, "--eval-every", 3, "--save-every", 3),
    *("--devices", 1, "--optimizer.warmup-steps", 1, "--width", 1, "--normalise", "none"),
)
TURNS = ("--data.count", 40, "--data.held-out", 8, "--data.types", 90, "--shuffles", 1)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options", "metrics"),
    [
        ("dialogue", TURNS, {"cross_entropy", "perplexity", "shuffled", "lower"}),
        pytest.param(
            "summaries", ("--data.types", 250), {"cross_entropy", "rouge_l"}, marks=pytest.mark.full
        ),
    ],
)
def test_what_a_run_leaves(tmp_path: Path, name: str, options: tuple, metrics: set[str]) -> None:
    assert command(name, *options, *SIZES, "--run-dir", tmp_path / "run") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["test"]) == metrics
    assert np.isfinite(list(results["test"].values())).all()
    assert (tmp_path / "run" / "figures" / "training.png").is_file()


def test_no_target_keeps_its_partner() -> None:
    """Every source and every target of the split occurs once, and none beside its own."""
    config = Config(data=ParallelConfig(kind="turns", count=40, held_out=9, types=90))
    examples = config.text.split("test").examples
    found = []
    for batch in shuffled_batches(config, "test", 0):
        for row in np.flatnonzero(np.asarray(batch.mask).any(axis=0)):
            sides = zip((batch.inputs, batch.targets), (batch.mask, batch.target_mask), strict=True)
            found.append(tuple(tuple(ids[mask[:, row], row].tolist()) for ids, mask in sides))
    true = [(tuple(inputs.tolist()), tuple(targets.tolist())) for inputs, targets in examples]
    assert sorted(source for source, _ in found) == sorted(source for source, _ in true)
    assert sorted(target for _, target in found) == sorted(target for _, target in true)
    assert not set(found) & set(true)


def test_unigram_by_hand() -> None:
    config = Config(data=ParallelConfig(kind="turns", count=30, held_out=5, types=90))
    train = np.concatenate([pair.targets for pair in config.text.split("train").examples])
    counts = 1 + np.bincount(train, minlength=len(config.text.target.vocabulary))
    test = np.concatenate([pair.targets for pair in config.text.split("test").examples])
    expected = -np.log(counts / counts.sum())[test].mean()
    assert unigram(config.text)["cross_entropy"] == pytest.approx(expected)


def test_refuses(refused: Callable[..., None]) -> None:
    refused("--data.dir is missing: --preset plays", "dialogue", "--preset", "plays")
    refused("--data.dir is missing: --preset inspec", "summaries", "--preset", "inspec")
    refused("--data.kind must be turns", "dialogue", "--data.kind", "copy")
    refused("--data.kind must be titles", "summaries", "--data.kind", "copy")
    refused("--shuffles must be a whole number of at least 1", "dialogue", "--shuffles", 0)
