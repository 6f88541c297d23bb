"""Translation from the command line: what a run leaves, resuming, translating with it, mistakes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.harness.files import read_arrays
from experiments.translation.trained import trained_translation
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from tests.experiments.conftest import alone

DATA = ("--data.kind", "reversal", "--data.length", 3, "--data.count", 60, "--data.held-out", 8)
SMALL = (
    *(*DATA, "--data.types", 30),
    *("--hidden-size", 8, "--batch-size", 16, "--steps", 20, "--eval-every", 10, "--save-every", 10),
    *(
        "--log-every",
        5,
        "--chunk",
        5,
        "--optimizer.warmup-steps",
        2,
        "--examples",
        2,
        "--width",
        2,
        "--score-every",
        1,
    ),
)
ONE = ("--system", "attention", *SMALL, "--devices", 1)
FILES = {"source": ("eins zwei", "drei", "vier fünf"), "target": ("one two", "three", "four five")}


@pytest.fixture(scope="session")
def run(shared: Path) -> Path:
    """A finished run of the system that attends; to be read only."""
    with alone(shared, "translation") as folder:
        if not (folder / "results.json").exists():
            assert command("translation", *ONE, "--run-dir", folder) == 0
    return folder


def test_what_a_run_leaves(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores of the net and of both baselines, translations, attention; drawn again from the arrays alone."""
    results = json.loads((run / "results.json").read_text())
    assert results["reported"] == "exact"
    scores = results["systems"]["attention"]
    for name in ("cross_entropy", "exact", "bleu_lowercased", "bleu", "chrf", "length_ratio"):
        assert np.isfinite(scores[name])
    low, high = scores["intervals"]["bleu"]
    assert low <= scores["bleu"] + 1e-9
    assert high >= scores["bleu"] - 1e-9
    assert set(results["baselines"]) == {"the source itself", "the commonest target"}
    assert "case:lc" in results["signatures"]["bleu_lowercased"]
    found = read_arrays(run, "nets/attention")
    assert len(found["translations"]) == 8
    assert found["shown"].tolist() == [0, 7]
    (layer,) = [key for key in found if key.startswith("attention|7|")]
    rows, columns = (len(found[f"pieces|7|{side}"]) for side in ("target", "source"))
    assert found[layer].shape == (1, rows, columns)
    np.testing.assert_allclose(found[layer].sum(axis=-1), 1, rtol=1e-5)
    table = (run / "table.txt").read_text()
    assert str(found["translations"][7]) in table
    assert {path.name for path in (run / "figures").glob("*.png")} == {
        "training.png",
        "attention_attention.png",
    }
    assert command("inspect", run) == 0
    records = [r for r in untimed(run / "nets" / "attention") if r["split"] == "validation"]
    assert [r["step"] for r in records] == [0, 10, 20]
    assert [r["step"] for r in records if "bleu" in r] == [10, 20]


def test_resumed_is_as_whole(run: Path, tmp_path: Path) -> None:
    """Continued from step ten as if it had been killed after that: the same parameters and log."""
    part = shutil.copytree(run, tmp_path / "part")
    shutil.rmtree(part / "nets" / "attention" / "checkpoints" / "20")
    (part / "arrays" / "nets" / "attention.npz").unlink()
    (part / "results.json").unlink()
    assert command("translation", *ONE, "--resume", part) == 0
    assert newest_checkpoint(part / "nets/attention") == newest_checkpoint(run / "nets/attention")
    assert untimed(part / "nets/attention") == untimed(run / "nets/attention")


def test_translates(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A sentence, or a file of several; n best with their log-probabilities; the attention as a figure."""

    def said(*options: Any) -> list[str]:
        capsys.readouterr()
        assert command("generate", run, *options) == 0
        return capsys.readouterr().out.splitlines()

    (one,) = said("--source", "a b c")
    best = said("--source", "a b c", "--n-best", 2, "--figure", tmp_path / "map")
    assert [line[11:] for line in best[:1]] == [one]
    assert float(best[1][:9]) < 0
    assert best[2:] == [str(tmp_path / "map.png"), str(tmp_path / "map.pdf")]
    (tmp_path / "lines.txt").write_text("c b\na b c\n")
    assert said("--source", tmp_path / "lines.txt")[1] == one
    trained = trained_translation(run)
    assert trained.system == "attention"
    assert trained.source is trained.target


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--prompt", "a"),
            "--prompt begins a text for a language model to continue, and this run translates",
        ),
        (("--source", "a ß"), "has characters that the pieces of the training text can't spell: 'ß'"),
        (("--source", " "), "--source is empty: give a sentence"),
        (("--source", "a " * 1001), "tokens, more than 1,000: break it into sentences"),
        (("--source", "a", "--width", 0), "--width must be a whole number of at least 1, but is 0"),
        (("--source", "a", "--width", 10**9), "are free: take a smaller --width"),
        (("--source", "a", "--n-best", 3), "--n-best 3 is more than the --width 2 of the search"),
        (("--source", "a", "--system", "fixed"), "--system fixed isn't trained in"),
    ],
)
def test_translating_refuses(
    options: tuple, sentence: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("generate", run, *options) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--smoothing", 1), "--smoothing must be at least 0 and below 1, but is 1.0"),
        (("--width", 0), "--width must be a whole number of at least 1, but is 0"),
        (("--width", 10**9), "for the hypotheses [1000000000, 100, "),
        (("--batch-tokens", 0), "--batch-tokens must be a whole number of at least 1, but is 0"),
        (
            ("--cell", "batch_norm_lstm"),
            "--cell batch_norm_lstm couples the sentences of a batch: take another",
        ),
        (("--transformer", "gru"), "--transformer must be a transformer, such as transformer(layers=2)"),
        (("--score", "dot"), "compares vectors of one size, but queries have 128 and values 256"),
        (("--health.every", 5), "--health.every looks into one recurrence, and a translation has two"),
        (
            ("--processes.coordinator", "localhost:1", "--processes.count", 2, "--processes.index", 0),
            "shares the training of one net",
        ),
    ],
)
def test_training_refuses(options: tuple, sentence: str, refused: Callable[..., None]) -> None:
    refused(sentence, "translation", *DATA, *options)


def test_files_that_do_not_fit(tmp_path: Path, mistake: Callable[..., str]) -> None:
    """Two files of a pair with different numbers of lines."""
    for side, lines in FILES.items():
        (tmp_path / f"train.{side}").write_text("\n".join(lines[: 3 if side == "source" else 2]) + "\n")
    options = ("--data.dir", tmp_path, "--data.source", "source", "--data.target", "target")
    said = mistake("translation", *options, "--data.types", 20)
    assert "train.source has 3 lines, but" in said
    assert "train.target has 2" in said


@pytest.mark.full
def test_systems_side_by_side(tmp_path: Path) -> None:
    """All four in one folder, table and figure; a second command finds them finished."""
    folder = tmp_path / "all"
    assert command("translation", *SMALL, "--batch-tokens", 60, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert list(results["systems"]) == ["fixed context", "fed context", "attention", "Transformer"]
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == {"training", "attention_attention", "attention_transformer"}
    before = arrays_bytes(folder)
    assert command("translation", *SMALL, "--batch-tokens", 60, "--resume", folder) == 0
    assert arrays_bytes(folder) == before
