"""Analyses of translation models: of systems trained there, of runs, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data import Pair
from experiments.harness.files import read_arrays
from experiments.translation.analysis_measure import join
from experiments.translation.analysis_report import width_sentence
from tests.experiments.command import arrays_bytes, command

DATA = ("--data.kind", "reversal", "--data.length", 3, "--data.count", 60, "--data.held-out", 8)
TRAINED: tuple[Any, ...] = (
    *(
        "--system",
        "attention",
        *DATA,
        "--data.types",
        30,
        "--hidden-size",
        8,
        "--batch-size",
        16,
        "--steps",
        6,
    ),
    *("--eval-every", 6, "--optimizer.warmup-steps", 2, "--devices", 1),
)
ANALYSED: tuple[Any, ...] = ("--lengths", 1, 3, "--widths", 1, 4, "--sentences", 4)
FIGURES = {"bleu_against_length", "scores_against_width", "heads"}


def test_successive_pairs_are_joined() -> None:
    pairs = [Pair(f"s{i}", f"t{i}") for i in range(5)]
    assert join(pairs, 2, 9) == [Pair("s0 s1", "t0 t1"), Pair("s2 s3", "t2 t3")]
    assert join(pairs, 1, 2) == pairs[:2]


def test_what_is_said_of_wider_searches() -> None:
    found = {
        "widths": np.array([1, 5, 50]),
        "width|bleu": np.array([30.0, 32.0, 31.5]),
        "width|seconds": np.array([2.0, 4.0, 30.0]),
    }
    assert width_sentence("attention", found) == (
        "attention: BLEU is highest at width 5 (32.00); width 50 finds 31.50 in 15.0 times the seconds of width 1."
    )


JOINED = ("--data.joined", 3, "--data.seed", 1)


@pytest.mark.slow
def test_what_a_run_leaves(tmp_path: Path) -> None:
    here = tmp_path / "here"
    assert command("translation_analysis", *TRAINED, *JOINED, *ANALYSED, "--run-dir", here) == 0
    found = read_arrays(here, "nets/attention")
    assert found["lengths"].tolist() == [1, 3]
    assert found["words"][1] == pytest.approx(3 * found["words"][0], rel=0.5)
    assert found["joined"] == 3
    assert found["heads|1|divergence"].tolist() == [[0]]
    assert {path.stem for path in (here / "figures").glob("*.png")} == FIGURES
    assert "BLEU is highest at width" in (here / "table.txt").read_text()
    assert json.loads((here / "results.json").read_text())["systems"]["attention"]["widths"] == [1, 4]


@pytest.mark.full
def test_trained_there_and_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The analysis of a run finds what that of the same training found; a second command finds it finished."""
    here, run, there = (tmp_path / name for name in ("here", "run", "there"))
    assert command("translation_analysis", *TRAINED, *JOINED, *ANALYSED, "--run-dir", here) == 0
    options = ("--tested", "last", "--examples", 1, "--width", 2)
    assert command("translation", *TRAINED, *JOINED, *options, "--run-dir", run) == 0
    assert command("translation_analysis", "--runs", run, *ANALYSED, "--run-dir", there) == 0
    one, other = (read_arrays(folder, "nets/attention") for folder in (here, there))
    for name, values in other.items():
        if name != "width|seconds":
            np.testing.assert_allclose(one[name], values, rtol=1e-5, err_msg=name)
    assert {path.stem for path in (there / "figures").glob("*.png")} == FIGURES
    before = arrays_bytes(here)
    assert command("translation_analysis", *TRAINED, *JOINED, *ANALYSED, "--resume", here) == 0
    assert arrays_bytes(here) == before
    capsys.readouterr()
    for options, sentence in (
        (("--runs", run, "--steps", 7), "--runs are trained already: leave out the options of loop"),
        (("--runs", run, run), "--runs names a run twice: name it once"),
        (("--runs", here), f"{here} is a run of translation_analysis, not of translation"),
    ):
        assert command("translation_analysis", *options, *ANALYSED, "--run-dir", tmp_path / "no") == 2
        assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--widths", 10**9), "are free: take a smaller --widths"),
        (("--widths", 0), "--widths must be a whole number of at least 1, but is 0"),
        (("--sentences", 0), "--sentences must be a whole number of at least 1, but is 0"),
        (("--preset", "multi30k_fixed"), "--preset names settings of `translation`: train there"),
        ((*TRAINED, "--lengths", 9), "--lengths joins 9 sentences, but there are 8"),
    ],
)
def test_refused(options: tuple, sentence: str, refused: Callable[..., None]) -> None:
    refused(sentence, "translation_analysis", *options)
