"""Gradients along a recording: the order of frames, the measure against a net's own derivative, a run's results."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.speech.batches import SpeechBatch
from experiments.objective import Evaluation
from experiments.speech.speech_gradients import by_distance, first_label, frame_gradients
from models import Elman, SequenceClassifier
from tests.experiments.command import command
from tests.experiments.conftest import alone

SMALL = ("--cells", "elman", "--hidden-size", 6, "--digits", 2, "--examples", 4, "--batch-size", 4)
SMALL += ("--steps", 4, "--eval-every", 2, "--chunk", 2, "--optimizer.warmup-steps", 1)


def test_frames_by_their_distance_from_the_last() -> None:
    """Padding before or after an utterance counts as no frame."""
    norms = np.array([[9.0, 1.0], [2.0, 3.0], [4.0, 9.0]])
    masks = np.array([[False, True], [True, True], [True, False]])
    np.testing.assert_array_equal(by_distance([norms], [masks]), [[4, 3], [2, 1]])


def test_gradient_is_that_of_each_utterance_alone() -> None:
    """By central differences, along the direction of the gradient."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(5, 2, 3))
    mask, labels = np.ones((5, 2), bool), np.array([[1, 2]], np.int32)
    batch = SpeechBatch(inputs, mask, labels, labels > 0, np.zeros((5, 2), np.int32))
    model = SequenceClassifier(Elman(4), classes=3)
    with jax.enable_x64(True):
        params = model.init(jax.random.key(0), jnp.asarray(inputs))
        measure = Evaluation(model, first_label)
        norms = np.asarray(frame_gradients(measure, params, batch))

        def loss(xs: np.ndarray) -> float:
            alone = batch._replace(inputs=xs[:, 1:], mask=mask[:, 1:], labels=labels[:, 1:])
            return float(measure(params, jax.tree.map(jnp.asarray, alone))["cross_entropy"][0])

        steps = 1e-5 * np.eye(3)
        for t in range(5):
            moved = [inputs.copy() for _ in range(6)]
            for place, step in enumerate([*steps, *-steps]):
                moved[place][t, 1] += step
            up, down = np.split(np.array([loss(xs) for xs in moved]), 2)
            np.testing.assert_allclose(norms[t, 1], np.linalg.norm((up - down) / 2e-5), rtol=1e-6)


@pytest.mark.full
def test_what_a_run_leaves(shared: Path) -> None:
    with alone(shared, "speech_gradients") as folder:
        assert command("speech_gradients", *SMALL, "--devices", 1, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert list(results) == ["elman, every digit (CTC)", "elman, the first digit, at the end"]
    assert 0 <= results["elman, the first digit, at the end"]["after training, accuracy"] <= 1
    assert (folder / "figures" / "frame_gradients.png").exists()
    assert "elman, every digit (CTC)" in (folder / "table.txt").read_text()
