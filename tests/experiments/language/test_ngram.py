"""n-grams from the command line: what a run leaves, the same twice, and the sentence for each bad input."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from analysis.figures.ngram import perplexity_by_order
from data import Vocabulary
from experiments.language.ngram import draw
from tests.experiments.command import arrays_bytes, command

Finished = Callable[[str], Path]


pytestmark = pytest.mark.usefixtures("somewhere_else")


def test_what_a_run_leaves(finished: Finished) -> None:
    """On the embedded text, with no option but the order: Kneser–Ney is the best, and mixes that of all orders."""
    folder = finished("ngram")
    results = json.loads((folder / "results.json").read_text())
    assert len(results["kneser_ney/test"]) == 3
    assert results["mle/test"][1:] == [None, None]
    for other in ("add_k", "katz"):
        assert results["kneser_ney/test"][2] < results[f"{other}/test"][2]
    assert results["kneser_ney/test"][0] > results["kneser_ney/test"][1] > results["kneser_ney/test"][2] > 20
    assert 1 < results["kneser_ney/valid/bits_per_character"] < 2.5
    assert len(results["sources"]["Python's language reference"]) == 64
    assert Vocabulary.load(folder / "vocabulary.json").types[:2] == ("<unk>", "<eos>")
    table = (folder / "table.txt").read_text()
    for line in (
        "perplexity, valid",
        "perplexity, test",
        "unseen, test",
        "by modified Kneser–Ney, n = 3:",
        "n = 3: ",
    ):
        assert line in table
    pictures = sorted(path.name for path in (folder / "figures").iterdir())
    assert pictures == ["perplexity.pdf", "perplexity.png", "size.pdf", "size.png"]
    with np.load(folder / "arrays" / "ngram.npz") as arrays:
        assert arrays["size"].tolist() == results["n_grams"]


def test_same_twice_and_redrawn(finished: Finished, tmp_path: Path) -> None:
    folder = finished("ngram")
    assert command("ngram", "--order", 3, "--run-dir", tmp_path / "again") == 0
    assert arrays_bytes(folder) == arrays_bytes(tmp_path / "again")
    assert (folder / "table.txt").read_text() == (tmp_path / "again/table.txt").read_text()
    drawn = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    assert command("inspect", tmp_path / "again") == 0
    assert drawn == {path.name: path.read_bytes() for path in (tmp_path / "again/figures").iterdir()}


def test_scores_are_on_no_axis_of_perplexities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stupid back-off's scores don't sum to one: they stand in the table alone."""
    drawn: list[str] = []

    def shown(curves: dict, *, split: str) -> Figure:
        drawn.extend(curves)
        return perplexity_by_order(curves, split=split)

    monkeypatch.setattr("analysis.figures.ngram.perplexity_by_order", shown)
    (tmp_path / "arrays").mkdir()
    arrays: dict[str, Any] = {"order": [1, 2], "size": [3, 4], "unseen|test": [0.0, 0.5]}
    arrays |= {f"perplexity|{name}|test": [9.0, 5.0] for name in ("mle", "stupid_backoff", "kneser_ney")}
    np.savez(tmp_path / "arrays/ngram.npz", **arrays)
    draw(tmp_path)
    assert drawn == ["mle", "kneser_ney"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "train.txt").write_text(
        "students opened their books\nstudents opened their minds\nbooks opened\n" * 5
    )
    (folder / "valid.txt").write_text("students opened books\n")
    return folder


def test_a_prompt_is_continued(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: of ten times "students opened their" five go on with books and five with minds."""
    arguments = ("--data.dir", text, "--order", 4, "--prompt", "students opened their", "--continuations", 2)
    assert command("ngram", *arguments, "--run-dir", "run") == 0
    said = capsys.readouterr().out
    assert "  train           65 tokens, 0 unknown (0.00%)" in said
    assert re.search(r"^books +0\.\d+ +5  students opened their$", said, re.MULTILINE)
    assert re.search(r"^minds +0\.\d+ +5  students opened their$", said, re.MULTILINE)
    assert "text: train.txt, valid.txt; 7 types" in said
    assert "perplexity, test" not in said


@pytest.mark.parametrize(
    "unit", ["bpe", *(pytest.param(unit, marks=pytest.mark.full) for unit in ("character", "byte"))]
)
def test_other_units(text: Path, unit: str) -> None:
    small = ("--order", 3, "--sample-tokens", 10, *(("--data.bpe-size", 25) if unit == "bpe" else ()))
    assert command("ngram", "--data.dir", text, "--data.unit", unit, *small, "--run-dir", "run") == 0
    assert Path("run/results.json").exists()


@pytest.mark.parametrize(
    ("files", "arguments", "said"),
    [
        ({}, [], "error: text holds no text: put files there whose names end in .txt"),
        ({"train.txt": b""}, [], "error: text/train.txt is empty: give a file that holds text"),
        ({"train.txt": b"a b\n\xffc\n"}, [], "not UTF-8: byte 0xff at offset 4 (line 2): it is likely latin-1"),
        ({"valid.txt": b"x y z\n"}, [], "text/valid.txt has only unknown words"),
        ({"train.txt": b"a b " * 250_000}, [], "text/train.txt has 1,000,000 characters, more than 100,000"),
        ({"train.txt": b"a b\n" * 9, "valid.txt": b"a\n"}, ["--prompt", "a zebra b cow"],
         "--prompt 'a zebra b cow' holds what the vocabulary of the training text doesn't: 'zebra', 'cow'; choose"),
        ({"train.txt": b"a b\n" * 9}, ["--data.valid-share", "0"], "the text has no valid split, only train: give"),
        ({"train.txt": b"a b\n" * 9}, ["--data.vocabulary-limit", "0"], "--data.vocabulary-limit must be 1 or"),
        ({"train.txt": b"a b\n" * 9}, ["--data.unit", "bpe"], "--data.bpe-size 4000 doesn't fit this"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_bad_input(
    tmp_path: Path,
    files: dict[str, bytes],
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One sentence, code 2, no run begun and nothing prepared of a text that is at fault."""
    folder = tmp_path / "text"
    folder.mkdir()
    if set(files) == {"valid.txt"}:
        (folder / "train.txt").write_text("a b\na b\n")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    assert command("ngram", "--data.dir", "text", *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert not Path("runs").exists()
    if "--prompt" not in arguments and "no valid" not in said:
        assert not Path("cache/unroll/text").exists()


def test_other_mistakes(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("ngram", "--data.dir", text, "--data.cache", "kept", "--run-dir", "one") == 0
    for arguments, said in (
        (
            ["--data.dir", text, "--data.cache", "kept", "--data.unit", "byte"],
            "kept was prepared with --data.unit word",
        ),
        (["--data.dir", "nowhere"], "there is no file or folder nowhere: name one that holds text"),
        (["--order", 0], "order must be a whole number of at least 1, but is 0"),
        (["--add-k", 0], "--add-k must be above 0 and finite, but is 0"),
        (["--smoothings"], "--smoothings is empty"),
        (["--smoothings", "mle", "mle"], "--smoothings names one twice: mle mle"),
        (["--data.dir", text, "--data.tfds", "lm1b"], "give --data.dir or --data.tfds, not both"),
        (["--data.tfds", "no_such_text"], "TFDS knows no data set 'no_such_text': see its catalogue"),
    ):
        capsys.readouterr()
        assert command("ngram", *arguments) == 2
        assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_one_word_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The highest order that exists is counted in place of the one asked for, and that is said."""
    (tmp_path / "words.txt").write_text("cat\ndog\n" * 40)
    assert command("ngram", "--data.dir", tmp_path / "words.txt", "--run-dir", "run") == 0
    assert "counted to n = 3 (the text has no longer ones, so --order 5 is 3)" in capsys.readouterr().out
    assert len(json.loads(Path("run/results.json").read_text())["n_grams"]) == 3
