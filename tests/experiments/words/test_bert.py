"""BERT from the command line: what a run leaves, resuming, its baselines, mistakes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data import Sentences, masked_batch
from experiments.words.bert import simple_answers
from tests.experiments.command import command, newest_checkpoint, untimed
from tests.experiments.conftest import alone

SMALL = ("--cell", "transformer(layers=1, heads=2)", "--hidden-size", 8, "--length", 16, "--document", 8)
SMALL += ("--batch-size", 8, "--steps", 20, "--eval-every", 10, "--save-every", 10, "--chunk", 10)
SMALL += ("--data.vocabulary-limit", 600, "--optimizer.warmup-steps", 2)


def test_simple_answers_are_counted() -> None:
    """The commonest word of the training text, the cross entropy of its frequencies with one added to each count,
    and one answer for all."""
    rng = np.random.default_rng(0)
    ids = rng.integers(7, size=400).astype(np.int32)
    text = Sentences(ids, np.arange(0, 401, 4), 20)
    batches = [masked_batch(text, 7, rng, rows=6, length=16) for _ in range(3)]
    found = simple_answers(text, batches, 7)
    answers = np.concatenate([batch.answers[batch.chosen] for batch in batches]).tolist()
    counts = {word: ids.tolist().count(word) + 1 for word in range(7)}
    best = max(counts, key=counts.__getitem__)
    assert found["masked_accuracy"] == pytest.approx(answers.count(best) / len(answers))
    entropy = -np.mean([np.log(counts[word] / 407) for word in answers])
    assert found["masked_cross_entropy"] == pytest.approx(entropy)
    assert found["next_accuracy"] == 0.5


@pytest.fixture(scope="session")
def run(shared: Path) -> Path:
    """A finished run on the embedded prose; to be read only."""
    with alone(shared, "bert") as folder:
        if not (folder / "results.json").exists():
            assert command("bert", *SMALL, "--devices", 1, "--run-dir", folder) == 0
    return folder


@pytest.mark.slow
def test_what_a_run_leaves(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    baseline, shared = results["baselines"].values()
    assert list(shared) == ["next_accuracy"]
    assert 0 < shared["next_accuracy"] <= 1
    for name in ("masked_accuracy", "masked_cross_entropy", "next_accuracy", "next_cross_entropy"):
        assert np.isfinite(results["test"][name])
        assert np.isfinite(baseline[name])
    losses = [r["masked_cross_entropy"] for r in untimed(run) if r["split"] == "validation"]
    assert losses[-1] < losses[0]
    table = (run / "table.txt").read_text()
    assert table.count("____") == 20
    assert [path.stem for path in (run / "figures").glob("*.png")] == ["training"]


@pytest.mark.full
def test_resumed_is_as_whole(run: Path, tmp_path: Path) -> None:
    part = shutil.copytree(run, tmp_path / "part")
    shutil.rmtree(part / "checkpoints" / "20")
    (part / "results.json").unlink()
    assert command("bert", *SMALL, "--resume", part) == 0
    assert newest_checkpoint(part) == newest_checkpoint(run)
    assert untimed(part) == untimed(run)
    assert (part / "table.txt").read_text() == (run / "table.txt").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--data.unit", "character"), "--data.unit character has no words to hide: take word or bpe"),
        (("--share", 1), "--share must lie between 0 and 1, but is 1"),
        (("--length", 7), "--length must be a whole number of at least 8, but is 7"),
        (("--cell", "batch_norm_lstm"), "--cell batch_norm_lstm couples the pairs of a batch"),
        (("--health.every", 5), "--health.every looks into a recurrence, and this net has none"),
        (("--edge-dropout", 1), "--edge-dropout 1.0: "),
    ],
)
def test_refused(given: tuple, said: str, refused: Callable[..., None]) -> None:
    refused(said, "bert", *given)
