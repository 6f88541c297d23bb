"""Text drawn from a run of a language model, from the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from experiments.harness.cell_files import cell_files, check_trusted
from experiments.harness.environment import environment
from experiments.language.generate import trained_model
from tests.experiments.command import command
from tests.experiments.small_text import WORDS
from train import Checkpoints, read_metrics

pytestmark = pytest.mark.usefixtures("somewhere_else")


def test_generate(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Goes on with the prompt in words of the vocabulary; the same seed gives the same, the unknown mark never."""

    def generated(*options: Any) -> str:
        assert command("generate", words, "--tokens", 30, *options) == 0
        return capsys.readouterr().out

    said = generated("--prompt", "the cat", "--temperature", 1.5)
    assert said.startswith("the cat")
    assert "<unk>" not in said
    assert set(said.split()) <= set(WORDS.split())
    assert said == generated("--prompt", "the cat", "--temperature", 1.5)
    assert said != generated("--prompt", "the cat", "--temperature", 1.5, "--seed", 1)
    assert generated("--temperature", 0) == generated("--top-k", 1, "--seed", 3) == generated("--top-p", 1e-6)


@pytest.mark.slow
def test_generate_from_the_best(words: Path, tmp_path: Path) -> None:
    """Of the checkpoints there are, each saved right after an evaluation, that with the lowest cross entropy."""
    copy = shutil.copytree(words, tmp_path / "copy")
    checkpoints = Checkpoints(copy / "checkpoints")
    found = {r["step"]: r["cross_entropy"] for r in read_metrics(copy) if r["split"] == "validation"}
    best = min(checkpoints.steps(), key=lambda step: found[step])
    assert checkpoints.best() == best
    chosen = trained_model(copy, best=True)[1]
    for step in checkpoints.steps():
        if step != best:
            shutil.rmtree(copy / "checkpoints" / str(step))
    alone = trained_model(copy)[1]
    jax.tree.map(np.testing.assert_array_equal, chosen, alone)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ("--prompt", "the zebra ate a quokka"),
            "holds what the vocabulary of the training text doesn't: 'zebra', ",
        ),
        (("--temperature", -1), "temperature must be 0 or more and finite, but is -1.0"),
        (("--top-k", 0), "top_k must be a whole number of at least 1, but is 0"),
        (("--top-p", 2), "top_p must be above 0 and at most 1, but is 2.0"),
        (("--tokens", 0), "tokens must be a whole number of at least 1, but is 0"),
    ],
)
def test_generate_refuses(
    options: tuple, sentence: str, words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("generate", words, *options) == 2
    assert sentence in capsys.readouterr().err


def test_generate_wants_a_trained_language_model(
    words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("generate", tmp_path / "nothing") == 2
    assert "is not a run folder (it has no config.json)" in capsys.readouterr().err
    begun = shutil.copytree(words, tmp_path / "begun", ignore=shutil.ignore_patterns("checkpoints"))
    assert command("generate", begun) == 2
    assert "has no checkpoint yet: let it train until it has saved once" in capsys.readouterr().err
    described = json.loads((begun / "config.json").read_text()) | {"experiment": "adding"}
    (begun / "config.json").write_text(json.dumps(described))
    assert command("generate", begun) == 2
    assert "is a run of adding, which makes no text" in capsys.readouterr().err


def test_generate_compares_with_the_checkpoint(
    words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edited cell and swapped words give no text: the checkpoint's own record decides."""
    copy = shutil.copytree(words, tmp_path / "copy")
    before = (copy / "config.json").read_text()
    described = json.loads(before)
    described["config"]["cell"] = "lstm(output_tanh=False)"
    (copy / "config.json").write_text(json.dumps(described))
    assert command("generate", copy) == 2
    assert "--cell was 'lstm' there and is 'lstm(output_tanh=False)' here" in capsys.readouterr().err
    (copy / "config.json").write_text(before)
    vocabulary = json.loads((copy / "vocabulary.json").read_text(encoding="utf-8"))
    types = vocabulary["types"]
    types[-2:] = reversed(types[-2:])
    (copy / "vocabulary.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    assert command("generate", copy) == 2
    assert "the vocabulary was " in capsys.readouterr().err


def test_generate_asks_before_it_executes_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell's file is executed where the run is under the current folder and the file is the recorded one."""
    file, run = tmp_path / "mine.py", tmp_path / "run"
    file.write_text("x = 1\n")
    described = {"experiment": "char_lm", "config": {"cell": f"{file}:Mine(a=1)", "cells": ["gru"]}}
    run.mkdir()
    recorded = environment(1) | {"cell_files": cell_files(described)}
    (run / "environment.json").write_text(json.dumps([recorded]))
    check_trusted(run, described)
    file.write_text("x = 2\n")
    with pytest.raises(ValueError, match=r"is not the file that the run was trained with: .* add --trust"):
        check_trusted(run, described)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"is not under the current folder: .* add --trust"):
        check_trusted(run, described)
