"""Taggers from the command line: what a run leaves, resuming, labelling with it, mistakes."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import SpanF1, corpus_score
from data import TaggedConfig, TaggedSentence, load_tagged
from data.text.tagged import TagKind
from experiments.harness.files import read_arrays
from experiments.labelling import pos_tagging, slot_filling
from experiments.labelling.label import trained_tagger
from experiments.labelling.tagging import Trained, load_words
from tests.experiments.command import command, newest_checkpoint, untimed
from tests.experiments.conftest import alone

SMALL = (
    *("--data.sentences", 60, "--data.held-out", 12, "--embedding-size", 6, "--character-size", 4),
    *("--hidden-size", 6, "--batch-size", 16, "--steps", 20, "--eval-every", 10, "--save-every", 10),
    *("--log-every", 10, "--devices", 1, "--cell", "elman"),
)
SLOTS = ("slot_filling", "--chain", *SMALL)
POS = ("pos_tagging", "--characters", "none", *SMALL)


@pytest.fixture(scope="session")
def slots(shared: Path) -> Path:
    """A finished run of slot_filling with a chain; to be read only."""
    with alone(shared, "slot_filling") as folder:
        if not (folder / "results.json").exists():
            assert command(*SLOTS, "--run-dir", folder) == 0
    return folder


@pytest.fixture(scope="session")
def pos(shared: Path) -> Path:
    """A finished run of pos_tagging, words alone; to be read only."""
    with alone(shared, "pos_tagging") as folder:
        if not (folder / "results.json").exists():
            assert command(*POS, "--run-dir", folder) == 0
    return folder


@pytest.mark.parametrize("name", ["slots", pytest.param("pos", marks=pytest.mark.full)])
def test_what_a_run_leaves(name: str, request: pytest.FixtureRequest) -> None:
    """Scores beside the baseline, confusions and errors by frequency that add up, figures, sentences."""
    folder: Path = request.getfixturevalue(name)
    results = json.loads((folder / "results.json").read_text())
    reported = {"slots": "f1", "pos": "accuracy"}[name]
    assert results["reported"] == reported
    expected = {"slots": {"f1", "accuracy", "intent"}, "pos": {"accuracy", "ambiguous", "unknown"}}[name]
    (baseline,) = results["baselines"].values()
    assert set(results["test"]) - {"cross_entropy"} == set(baseline) == expected
    measured = read_arrays(folder, "measured")
    accuracy = 1 - measured["errors"].sum() / measured["words"].sum()
    assert accuracy == pytest.approx(results["test"]["accuracy"])
    assert measured["confusions"].shape == (len(measured["confused"]),) * 2
    kind: TagKind = "slots" if name == "slots" else "upos"
    text = load_tagged(TaggedConfig(sentences=60, held_out=12), kind)
    assert measured["words"].sum() == sum(len(one.words) for one in text.splits["test"])
    known = {word for one in text.splits["train"] for word in one.words}
    assert measured["words"][0] == sum(w not in known for one in text.splits["test"] for w in one.words)
    table = (folder / "table.txt").read_text()
    assert re.search({"slots": "predicted  ", "pos": r"i +saw +a +saw\n"}[name], table)
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert figures == {"training", "confusions", "errors_by_frequency"}
    assert command("inspect", folder) == 0


def test_scores_and_baseline_are_those_of_the_predictions(slots: Path) -> None:
    """F1 and intent accuracy of a trained tagger and of the commonest tags, counted here."""
    results = json.loads((slots / "results.json").read_text())
    text = load_words(TaggedConfig(sentences=60, held_out=12), "slots", characters=True)
    test = text.text.splits["test"]
    answers = trained_tagger(slots).ask([one.words for one in test])
    gold = [" ".join(one.tags) for one in test]
    assert results["test"]["f1"] == corpus_score(SpanF1(), [" ".join(tags) for tags, _ in answers], gold)
    right = [label == one.label for (_, label), one in zip(answers, test, strict=True)]
    assert results["test"]["intent"] == np.mean(right)
    tags: dict[str, list[str]] = {}
    for one in text.text.splits["train"]:
        for word, tag in zip(one.words, one.tags, strict=True):
            tags.setdefault(word, []).append(tag)
    once = [found[0] for found in tags.values() if len(found) == 1]
    rare = max(dict.fromkeys(once), key=once.count)

    def commonest(word: str) -> str:
        found = tags.get(word, [rare])
        return max(dict.fromkeys(found), key=found.count)

    (baseline,) = results["baselines"].values()
    guessed = [" ".join(map(commonest, one.words)) for one in test]
    assert baseline["f1"] == corpus_score(SpanF1(), guessed, gold)


@pytest.mark.full
def test_resumed_is_as_whole(slots: Path, tmp_path: Path) -> None:
    part = shutil.copytree(slots, tmp_path / "part")
    shutil.rmtree(part / "checkpoints" / "20")
    (part / "results.json").unlink()
    assert command(*SLOTS, "--resume", part) == 0
    assert newest_checkpoint(part) == newest_checkpoint(slots)
    assert untimed(part) == untimed(slots)


def labelled(capsys: pytest.CaptureFixture[str], *arguments: Any) -> list[str]:
    """The lines that `label` prints."""
    capsys.readouterr()
    assert command("label", *arguments) == 0
    return capsys.readouterr().out.splitlines()


def test_labels_slots(
    slots: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words of the trained tagger, plain in a pipe and coloured on a terminal; a file of sentences."""
    words = ["can", "you", "play", "paris", "by", "the", "saws"]
    ((tags, label),) = trained_tagger(slots).ask([words])
    expected = slot_filling.bracketed(words, tags) + f"  intent: {label}"
    assert labelled(capsys, slots, " ".join(words)) == [expected]
    (tmp_path / "lines").write_text(f"{' '.join(words)}\nplay\n")
    assert labelled(capsys, slots, tmp_path / "lines")[0] == expected
    answer = ("B-title", "I-title", "O", "B-band"), "music"
    monkeypatch.setattr(Trained, "ask", lambda self, sentences: [answer])
    assert labelled(capsys, slots, "blue river by delta") == [
        "[blue river]title by [delta]band  intent: music"
    ]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    (coloured,) = labelled(capsys, slots, "blue river by delta")
    assert re.sub(r"\x1b\[\d+m", "", coloured) == "blue river title by delta band  intent: music"
    assert len(set(re.findall(r"\x1b\[(\d+)mblue|\x1b\[(\d+)mdelta", coloured))) == 2  # each type has its own
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in labelled(capsys, slots, "blue river by delta")[0]


@pytest.mark.full
def test_labels_parts_of_speech(pos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ((tags, _),) = trained_tagger(pos).ask([["i", "saw"]])
    assert labelled(capsys, pos, "i saw") == [f"i/{tags[0]} saw/{tags[1]}"]


def test_labelling_refuses(
    slots: Path, capsys: pytest.CaptureFixture[str], finished: Callable[[str], Path]
) -> None:
    for run, sentence, reason in (
        (slots, " ", "SENTENCE is empty: give words"),
        (
            finished("ngram"),
            "a",
            "is a run of ngram, which tags no words: name one of slot_filling or pos_tagging",
        ),
        (slots / "none", "a", "none"),
    ):
        assert command("label", run, sentence) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (("slot_filling", "--preset", "atis"), "--data.dir is missing: --preset atis is for real text in a"),
        (("pos_tagging", "--tags", "xpos"), "have no xpos: give CoNLL-U files"),
        (("pos_tagging", "--health.every", 5), "--health.every isn't measured of a net that reads words"),
        (("pos_tagging", "--word-dropout", 1), "--word-dropout must be at least 0 and below 1, but is 1"),
        (("pos_tagging", "--data.min-count", 0), "--data.min-count must be 1 or more, but is 0"),
        (
            ("pos_tagging", "--characters", "recurrence", "--character-size", 3),
            "--character-size 3 is odd, and an LSTM reads in both directions",
        ),
        (("pos_tagging", "--embedding", "none.txt"), "none.txt"),
    ],
)
def test_training_refuses(given: tuple, sentence: str, refused: Callable[..., None]) -> None:
    refused(sentence, *given[:1], "--data.sentences", 20, "--data.held-out", 2, *given[1:])


def test_files_that_do_not_align(tmp_path: Path, mistake: Callable[..., str]) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "seq.in").write_text("fly to rome\n")
        (tmp_path / split / "seq.out").write_text("O O B-to\n" if split != "test" else "O O\n")
    said = mistake("slot_filling", "--data.dir", tmp_path, "--data.cache", tmp_path / "cache")
    assert "line 1 of" in said
    assert "has 2 tags" in said
    (tmp_path / "test" / "seq.out").write_text("O O B-from\n")
    said = mistake("slot_filling", "--data.dir", tmp_path, "--data.cache", tmp_path / "cache")
    assert "the test split has B-from, which no training sentence has" in said


def test_unseen_tags_count_as_missed(tmp_path: Path) -> None:
    """A tag that no training sentence has is wrong whatever is predicted; nothing predicts it."""
    for split, tags in (("train", "O O B-to"), ("valid", "O O B-to"), ("test", "O O B-from")):
        (tmp_path / split).mkdir()
        (tmp_path / split / "seq.in").write_text("fly to rome\n")
        (tmp_path / split / "seq.out").write_text(f"{tags}\n")
    data = TaggedConfig(dir=tmp_path, cache=tmp_path / "cache", unseen="miss")
    text = load_words(data, "slots", characters=False)
    test = text.held_out("test", [3])
    assert test[0].targets[:, 0].tolist() == [text.codes.tags.encode(["O"])[0]] * 2 + [0]
    assert slot_filling.figures(test, [(("O", "O", "B-to"), "")]) == {"f1": 0.0, "accuracy": 2 / 3}
    assert text.codes.tag(0) == "O"


def test_ambiguous_sentences_are_tagged_as_written() -> None:
    """The 21 sentences hold words of several tags, and tags of the grammar."""
    lines = pos_tagging.AMBIGUOUS.strip().splitlines()
    assert lines[0] == "I/PRON saw/VERB a/DET saw/NOUN"
    assert len(lines) == len(set(lines)) == 21
    tags = load_tagged(TaggedConfig(sentences=200, held_out=1), "upos").counts()
    assert {pair.split("/")[1] for line in lines for pair in line.split()} <= set(tags)


def test_bracketed() -> None:
    words, tags = ["from", "new", "york", "on", "monday"], ["O", "B-city", "I-city", "O", "B-day"]
    assert slot_filling.bracketed(words, tags) == "from [new york]city on [monday]day"
    assert TaggedSentence(tuple(words), tuple(tags)).label == ""
