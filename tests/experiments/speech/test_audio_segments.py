"""Segments of speech: how they are made and told apart, a small run, mistakes."""

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.speech.corpus import SpeechConfig
from data.speech.features import FeaturesConfig, log_mel
from data.speech.joined import JoinConfig
from data.speech.recordings import Recording
from experiments.harness.files import read_arrays
from experiments.speech.segments import MEANS, WARPING, HeldOut, load_segments, nearest_scores
from tests.experiments.command import command
from tests.experiments.conftest import alone

SMALL = ("--hidden-size", 4, "--batch-size", 4, "--segments", 8, "--held-out", 30, "--shown", 2)
SMALL += ("--steps", 2, "--eval-every", 2, "--save-every", 2, "--chunk", 1, "--optimizer.warmup-steps", 1)


def test_segments_and_their_frames() -> None:
    """Held-out batches know their segments; steps become the frames again; warping tells the order of two tones,
    mean frames can't."""
    config = FeaturesConfig(normalise="training")
    found = load_segments(SpeechConfig(), JoinConfig(fewest=2, most=2, noise=-40.0), config, 20, 60)
    assert {split: len(own) for split, own in found.splits.items()} == {"train": 20, "valid": 60, "test": 60}
    held = HeldOut(found, "test")
    rows = [(batch, b) for batch in held for b in np.flatnonzero(batch.mask.any(axis=0))]
    assert len(rows) == len(held.segments) == 60
    for (batch, b), one in zip(rows, held.segments, strict=True):
        frames = log_mel(one.samples, config)
        assert found.texts[int(batch.targets[b])] == one.text
        np.testing.assert_allclose(
            found.frames_of(np.asarray(batch.inputs)[:, b], len(frames)), frames, rtol=1e-4, atol=1e-4
        )
    assert found.baselines[WARPING]["nearest"] > found.baselines[MEANS]["nearest"]
    assert 0 < found.baselines[MEANS]["mean_square_error"] < 1


def test_the_nearest_of_other_speakers_is_scored_where_there_are_several() -> None:
    def segment(text: str, speaker: str) -> Recording:
        return Recording(np.zeros(1, np.float32), text, speaker)

    said = [segment("one", "a"), segment("one", "a"), segment("one", "b"), segment("two", "b")]
    places = np.array([0.0, 1.0, 5.0, 3.0])
    distances = np.abs(places[:, None] - places[None])
    assert nearest_scores(distances, said) == pytest.approx({"nearest": 2 / 3, "across": 1 / 3})
    assert nearest_scores(distances[:2, :2], said[:2]) == {"nearest": 1.0}


@pytest.mark.full
def test_what_a_run_leaves(shared: Path) -> None:
    with alone(shared, "audio_segments") as folder:
        assert command("audio_segments", *SMALL, "--devices", 1, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results["test"]) == {"mean_square_error", "nearest"}
    assert set(results["baselines"]) == {WARPING, MEANS, "chance"}
    measured = read_arrays(folder, "measured")
    assert measured["places"].shape == (30, 2)
    assert measured["written|0"].shape == measured["frames|0"].shape
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"training", "spectrograms", "map"}
    sounds = sorted(path.name for path in (folder / "sounds").glob("*.wav"))
    assert len(sounds) == 6
    with wave.open(str(folder / "sounds" / sounds[0])) as file:
        assert file.getframerate() == 8000
        assert file.getnframes() > 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--preset", "fsdd"), "--data.dir is missing: --preset fsdd is for recordings"),
        (("--features.normalise", "utterance"), "--features.normalise utterance can't be undone"),
        (("--join.fewest", 1, "--join.most", 1), "--join.most 1 makes a segment of a tone"),
        (("--cell", "batch_norm_lstm"), "couples the segments of a batch"),
        (("--hidden-size", 0), "--hidden-size must be a whole number of at least 1"),
    ],
)
def test_refused(given: tuple[Any, ...], said: str, refused: Callable[..., None]) -> None:
    refused(said, "audio_segments", *given)
