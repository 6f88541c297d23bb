"""The listening test: its measure and its guess, what a run leaves, mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from data import Batch
from experiments.harness.files import read_arrays
from experiments.machines.recall_task import GUESS, Answered, guessing
from tests.data.speech.test_recall import utterances
from tests.experiments.command import command

TINY: tuple[Any, ...] = ("--cells", "ntm(controller=dense(5), slots=4, width=3)", "--hidden-size", 5)
TINY += ("--features.filters", 8, "--batch-size", 4, "--held-out", 6, "--utterances", 8, "--devices", 1)
TINY += ("--steps", 2, "--eval-every", 2, "--save-every", 2)


def test_the_answer_is_measured_at_the_last_step_and_words_before_it() -> None:
    rng, lengths = np.random.default_rng(0), [5, 3, 0]
    logits, targets = rng.normal(size=(5, 3, 4)), rng.integers(0, 4, (5, 3))
    mask = np.arange(5)[:, None] < np.array(lengths)
    costs = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, targets[..., None], 2)[..., 0]
    right = logits.argmax(axis=-1) == targets
    answers = [(4, 0), (2, 1)]
    words = [(t, b) for b in (0, 1) for t in range(lengths[b] - 1)]
    told = np.mean([costs[place] for place in words])
    found = {
        name: (float(total), float(count))
        for name, (total, count) in Answered(0.5)(jnp.asarray(logits), Batch(logits, targets, mask)).items()
    }
    assert found["loss"] == pytest.approx((sum(costs[place] for place in answers) + 0.5 * told * 2, 2))
    assert found["exact"] == (sum(right[place] for place in answers), 2)
    assert found["heard"] == (sum(right[place] for place in words), len(words))


def test_the_guess_draws_among_the_words_that_can_be_the_answer() -> None:
    """By drawing: any word but the first and the one that is asked for."""
    source, rng, hits = utterances(), np.random.default_rng(0), []
    for index in range(len(source)):
        *told, _, asked = (one.text for one in source.plan(index)[0])
        drawn = rng.choice([word for word in told[1:] if word != asked], 200)
        hits += (drawn == source.answer(index)).tolist()
    assert guessing(source) == pytest.approx(np.mean(hits), abs=0.03)


@pytest.mark.full
def test_what_a_run_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert command("spoken_recall", *TINY, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert len(results["systems"]) == 2
    assert all(0 <= score["exact"] <= 1 for score in results["systems"].values())
    assert 0.2 < results["baselines"][GUESS] < 0.8
    nets = read_arrays(folder, "nets")
    (reads,) = [values for name, values in nets.items() if name.endswith("watched|reads")]
    np.testing.assert_allclose(reads.sum(axis=-1), 1, rtol=1e-5)
    assert len(list((folder / "figures").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--preset", "fsdd"), "--data.dir is missing: --preset fsdd is for recordings in a folder"),
        (("--direction", "both"), "--direction both needs no memory for what was said"),
        (("--join.fewest", 1), "--join.fewest is 1: a word that comes after another needs 2"),
        (("--join.most", 11), "--join.most is 11, but 'keypad' says 10 different words"),
        (("--told", -1), "--told must be at least 0 and finite"),
        (("--speeds", 9), "--speeds must be one or more from 0.5 to 2"),
        (("--cells", "ntm(slots=0)"), "slots must be a whole number of at least 1"),
    ],
)
def test_refused(options: tuple[Any, ...], said: str, refused: Callable[..., None]) -> None:
    refused(said, "spoken_recall", *options)
