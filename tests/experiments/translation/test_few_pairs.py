"""Translation with few pairs from the command line; data that models make of one-sided text; mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data import PairExample, ParallelConfig
from data.synthetic.number_words import german_number_parts, number_in_words
from data.synthetic.pairs import part_dictionary
from experiments.harness.files import read_arrays
from experiments.translation.back_translation import noised, pack, unpack
from experiments.translation.few_pairs import Config
from tests.experiments.command import command

SMALL = (
    *("--pairs", 6, "--data.count", 40, "--data.held-out", 5, "--data.length", 2, "--data.types", 60),
    *("--hidden-size", 6, "--batch-size", 6, "--steps", 4, "--eval-every", 4, "--save-every", 4),
    *("--every", 2, "--made", 8, "--examples", 2, "--devices", 1, "--optimizer.warmup-steps", 2),
)


@pytest.mark.full
def test_what_a_run_leaves(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert command("few_pairs", "--nets", "back", *SMALL, "--run-dir", run) == 0
    results = json.loads((run / "results.json").read_text())
    assert set(results["systems"]) == {"back-translation"}
    assert set(results["baselines"]) == {"the source itself", "word by word"}
    made = unpack(read_arrays(run, "back_translations"))
    config = Config(pairs=6, data=ParallelConfig(kind="parts", count=40, held_out=5, length=2, types=60))
    given = {tuple(pair.targets) for pair in config.one_sided}
    assert made
    assert {tuple(pair.targets) for pair in made} <= given
    assert (run / "figures" / "training.png").is_file()


@pytest.mark.full
def test_what_a_run_without_pairs_leaves(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert command("few_pairs", "--nets", "unsupervised", *SMALL, "--run-dir", run) == 0
    assert set(json.loads((run / "results.json").read_text())["systems"]) == {"no pairs"}
    # Translated anew after step 2, both languages: of either 8 that are damaged and 8 that are translated.
    again = unpack(read_arrays(run / "nets" / "unsupervised", "epochs/1"))
    assert len(again) == 32


def test_one_sided_text_holds_no_pair() -> None:
    """No source and its target are both known; the marks tell the languages; words are translated one by one."""
    config = Config(pairs=5, made=10, data=ParallelConfig(kind="parts", count=40, held_out=5, length=2))
    languages, decode = config.languages, config.text.source.decode
    numbers: list[set[str]] = []
    for side, name in enumerate(("de", "en")):
        sentences = {decode(ids.tolist()).strip() for ids in languages.sentences[side]}
        spelt = {
            " ".join(german_number_parts(n))
            if name == "de"
            else number_in_words(n, "en").replace("-", " "): str(n)
            for n in range(100)
        }
        numbers.append({spelt[sentence] for sentence in sentences})
    assert not numbers[0] & numbers[1]
    pairs = languages.first(0)
    assert len(pairs) == 40
    marks = {int(pair.inputs[0]) for pair in pairs}
    assert marks == {config.text.source.vocabulary.unknown_id, config.text.source.vocabulary.end_id}
    known = part_dictionary("en", "de")
    translated = pairs[10]  # after those that are damaged, into German
    words = decode(translated.targets.tolist()).split()
    back = {german: english for english, german in known.items()}
    expected = [back.get(word, "one" if word == "eins" else word) for word in words]
    assert decode(translated.inputs[1:].tolist()).split() == expected


def test_noise_moves_by_at_most_three_places() -> None:
    random = np.random.default_rng(0)
    ids = np.append(np.arange(10, 40), 1).astype(np.int32)
    for _ in range(20):
        found = noised(ids, random)
        assert found[-1] == 1
        kept = np.sort(found[:-1])
        assert len(set(found.tolist())) == len(found) <= len(ids)
        assert np.abs(np.searchsorted(kept, found[:-1]) - np.arange(len(kept))).max() <= 3
    pairs = [PairExample(noised(ids, random), ids[:3]), PairExample(ids[5:], ids)]
    for one, other in zip(pairs, unpack(pack(pairs)), strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
        np.testing.assert_array_equal(one.targets, other.targets)


def test_refuses(refused: Callable[..., None]) -> None:
    refused("--data.dir is missing: --preset multi30k", "few_pairs", "--preset", "multi30k")
    refused("--pairs 39 leaves no text of one side", "few_pairs", *SMALL[2:], "--pairs", 39)
    refused("--nets unsupervised needs a dictionary", "few_pairs", "--data.kind", "copy", "--data.count", 50)
    refused("--nets names one twice", "few_pairs", "--nets", "few", "few")
