"""Sentiment from the command line: what a run leaves, the net and its baselines, mistakes."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import ClassifiedConfig, load_classified
from data.synthetic.grammar_rules import LEXICON, RULES
from experiments.harness.files import read_arrays
from experiments.labelling.sentiment import Config
from experiments.labelling.sentiment_task import TURNING, naive_bayes, sentiment_task, turning_words
from tests.experiments.command import command
from tests.experiments.conftest import alone

DATA = ("--data.sentences", 80, "--data.held-out", 20)
SMALL = (
    *(*DATA, "--hidden-size", 4, "--embedding-size", 6, "--batch-size", 16, "--examples", 3, "--devices", 1),
    *("--steps", 20, "--eval-every", 10, "--save-every", 10, "--chunk", 10, "--optimizer.warmup-steps", 2),
)


@pytest.fixture(scope="session")
def run(shared: Path) -> Path:
    """A finished run of both nets; to be read only."""
    with alone(shared, "sentiment") as folder:
        if not (folder / "results.json").exists():
            assert command("sentiment", *SMALL, "--run-dir", folder) == 0
    return folder


def test_what_a_run_leaves(run: Path) -> None:
    """Both nets and the baselines in the table; what each says word by word, which adds up to its answer."""
    results = json.loads((run / "results.json").read_text())
    assert set(results["nets"]) == {"lstm, both directions", "lstm"}
    assert set(results["baselines"]) == {"naive Bayes, pairs of words", "the commonest class"}
    assert results["test"] == results["nets"]["lstm, both directions"]
    found = read_arrays(run, "nets/both_1")
    for name in ("shown|0", "shown|19", "turning|0"):
        each, weights = found[f"{name}/each"], found[f"{name}/weights"]
        assert len(found[f"{name}/words"]) == len(each) == len(weights)
        np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)
        logits = weights @ np.log(each)  # up to a constant of each word, which a difference of logits hasn't
        whole = np.log(found[f"{name}/whole"])
        np.testing.assert_allclose(logits[1] - logits[0], whole[1] - whole[0], rtol=1e-3, atol=1e-5)
    table = (run / "table.txt").read_text()
    assert "the film was [terribly] exciting" in table
    assert table.count("\n") > len(TURNING)
    drawn = {path.name for path in (run / "figures").glob("*.png")}
    assert drawn == {"training.png", "attention.png", "turning.png"}


def test_sentences_that_turn_on_context_are_in_words_of_the_grammar() -> None:
    assert len(TURNING) >= 21
    known = {word for _, *choices in LEXICON.values() for words in choices for word in words}
    known |= {symbol.name for rule in RULES.values() for side in rule for symbol in side if symbol.tag}
    for sentence, _ in TURNING:
        words, place = turning_words(sentence)
        assert set(words) <= known
        assert f"[{words[place]}]" in sentence


def test_naive_bayes() -> None:
    """Against a loop: log P(c) + Σ log P(feature | c) with add-one smoothing, over features that occur."""
    text = load_classified(ClassifiedConfig(sentences=60, held_out=10))
    known = [*text.splits["train"], *text.splits["valid"]]

    def features(words: tuple[str, ...]) -> set[str]:
        return {*words, *(f"{a} {b}" for a, b in pairwise(words))}

    every = sorted(set().union(*(features(sentence.words) for sentence in known)))
    tested = [sentence.words for sentence in text.splits["test"]]
    wanted = []
    for words in tested:
        scores = []
        for label in text.classes:
            own = [features(s.words) for s in known if s.label == label]
            counts = {feature: 1 + sum(feature in f for f in own) for feature in every}
            total = sum(counts.values())
            scores.append(
                np.log(len(own) / len(known))
                + sum(np.log(counts[f] / total) for f in features(words) if f in counts)
            )
        wanted.append(np.exp(scores) / np.sum(np.exp(scores)))
    np.testing.assert_allclose(naive_bayes(text).predict_proba(tested), wanted, rtol=1e-9)


def test_a_forward_net_has_as_many_units() -> None:
    config = Config(hidden_size=4, data=ClassifiedConfig(sentences=20, held_out=5))
    both, forward = (sentiment_task(config, 1, forward=forward).model for forward in (False, True))
    assert list(config.nets.values()) == [False, True]
    assert "Bidirectional" in type(both.cell).__name__  # type: ignore[attr-defined]
    assert forward.cell.hidden_size == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--preset", "sst2"), "--data.dir is missing: --preset sst2 is for real text in a folder"),
        (("--all-folds",), "--all-folds is for sentences in NAME.neg and NAME.pos, which have no splits"),
        (("--vector-dropout", 1), "--vector-dropout must be at least 0 and below 1, but is 1.0"),
        (("--data.fold", 11), "--data.fold must lie in 1 … 10, but is 11"),
        (("--direction", "forward", "--health.every", 10), "--health.every isn't measured of a net that"),
    ],
)
def test_mistakes(refused: Callable[..., None], options: tuple[Any, ...], sentence: str) -> None:
    refused(sentence, "sentiment", *DATA, *options)


def test_files(tmp_path: Path, mistake: Callable[..., str]) -> None:
    """A class outside those of training, and a line without a tab: file and line are named."""
    (tmp_path / "train.tsv").write_text("a b\t0\nc d\t1\n" * 20)
    (tmp_path / "test.tsv").write_text("a b\t0\nc d\t2\n")
    options = ("sentiment", *SMALL, "--data.dir", tmp_path)
    assert "line 2 of" in (said := mistake(*options))
    assert "has the class '2', outside those of the training sentences, 0, 1" in said
    (tmp_path / "test.tsv").write_text("a b 0\n")
    assert "test.tsv must be a sentence, one tab and a class of one word" in mistake(*options)


@pytest.mark.full
def test_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A net for each fold, here two; the report is their mean; a fold that is there is not trained again."""
    monkeypatch.setattr("experiments.labelling.sentiment_config.FOLDS", 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = load_classified(ClassifiedConfig(sentences=180, held_out=10))
    data = tmp_path / "mr"
    data.mkdir()
    for label, name in (("negative", "neg"), ("positive", "pos")):
        lines = [" ".join(s.words) for s in made.splits["train"] if s.label == label]
        (data / f"mr.{name}").write_text("\n".join(lines) + "\n")
    folder = tmp_path / "run"
    options = (*SMALL[4:], "--steps", 10, "--data.dir", data, "--all-folds", "--no-compare-forward")
    assert command("sentiment", *options, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert len(results["folds"]) == 2
    assert results["test"]["accuracy"] == pytest.approx(np.mean(results["folds"]))
    before = (folder / "arrays" / "nets" / "both_2.npz").stat().st_mtime_ns
    (folder / "results.json").unlink()
    assert command("sentiment", *options, "--resume", folder) == 0
    assert (folder / "arrays" / "nets" / "both_2.npz").stat().st_mtime_ns == before
    assert json.loads((folder / "results.json").read_text())["folds"] == results["folds"]
