"""Speech translation: what digits become, joined utterances, a run's results, and mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.synthetic.number_words import german_number_parts, number_in_words
from experiments.harness.files import read_arrays
from experiments.speech.crossing import centres
from experiments.speech.speech_translation import NAMES, Config
from experiments.speech.translated import number_of
from tests.experiments.command import command
from tests.experiments.conftest import alone

SMALL = ("--hidden-size", 6, "--batch-size", 4, "--held-out", 6, "--features.filters", 8)
SMALL += ("--steps", 2, "--eval-every", 2, "--save-every", 2, "--chunk", 1, "--optimizer.warmup-steps", 1)


def test_parts_of_number_words() -> None:
    for number in range(10_000):
        assert "".join(german_number_parts(number)) == number_in_words(number, "de")
    assert german_number_parts(9121) == ["neun", "tausend", "ein", "hundert", "ein", "und", "zwanzig"]
    assert number_of(["two", "one"]) == number_of(["2", "1"]) == "ein und zwanzig"
    assert number_of(["zero", "five"]) == "fünf"
    assert number_of([]) == ""
    assert number_of(["1"] * 9) == "1 1 1 1 1 1 1 1 1"


def test_utterances_say_the_digits_and_are_labelled_with_the_number() -> None:
    """Labels of training and of what is held out, and the mean place of attention."""
    config = Config(held_out=5)
    text, spoken = config.translated, config.text.train(3, 1)
    source = text.train(3, 1)
    for index in range(20):
        digits = spoken[index].text
        assert source[index].text == source.texts(index)[0] == number_of(list(digits))
        np.testing.assert_array_equal(source[index].samples, spoken[index].samples)
    for one, said in zip(text.held_out["test"], config.text.held_out["test"], strict=True):
        assert one.text == number_of(list(said.text))
        assert text.labels.decode(text.encoder(one).labels) == one.text
    np.testing.assert_allclose(centres(np.array([[0.5, 0, 0.5], [0, 0, 1]])), [1, 2])


@pytest.mark.full
def test_what_a_run_leaves(shared: Path) -> None:
    with alone(shared, "speech_translation") as folder:
        options = (*SMALL, "--systems", "attention", "rule")
        assert command("speech_translation", *options, "--devices", 1, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results["systems"]) == {NAMES["attention"], NAMES["rule"]}
    assert 0 <= results["baselines"]["the most frequent answer"]["exact"] <= 1
    assert "the most frequent answer" in (folder / "table.txt").read_text()
    weights = read_arrays(folder, "nets/attention")["weights|0"]
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"training", "attention"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--systems", "ctc", "ctc"), "--systems names one twice"),
        (("--labels", "letters"), "--labels letters has no parts of number words"),
        (("--join.most", 5), "--join.most is 5: numbers have at most 4 digits"),
        (("--direction", "forward"), "--direction must be both"),
        (("--preset", "fsdd"), "--data.dir is missing: --preset fsdd is for recordings"),
    ],
)
def test_refused(given: tuple[Any, ...], said: str, refused: Callable[..., None]) -> None:
    refused(said, "speech_translation", *given)
