"""Stories answered by machines: memory on and off, what a run leaves, mistakes."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.harness.files import read_arrays
from experiments.machines.story_net import StoryReader
from experiments.machines.systems import without_memory
from models import Dense, NeuralTuringMachine
from tests.experiments.command import command

TINY: tuple[Any, ...] = ("--tasks", 1, "--cells", "ntm(controller=dense(5), slots=4, width=3)")
TINY += ("--data.questions", 40, "--data.facts", 2, "--batch-size", 8, "--embedding-size", 4)
TINY += ("--hidden-size", 5, "--steps", 2, "--eval-every", 2, "--save-every", 2, "--devices", 1)


def test_only_the_memory_carries_a_story() -> None:
    """Of two stories with one question a machine's answers differ, and with its memory off they don't."""
    machine = NeuralTuringMachine(5, Dense(5), slots=4, width=3)
    stories = jnp.array([[[2, 3], [4, 0]], [[5, 2], [4, 0]]]).swapaxes(0, 1)  # [T, B, W]
    answers = []
    for cell in (machine, without_memory(machine)):
        model = StoryReader(cell, 3, 6, 2, 4)
        params: Any = model.init(jax.random.key(0), stories, mask=jnp.ones((2, 2), bool))
        answers.append(np.asarray(model.apply(params, stories, mask=jnp.ones((2, 2), bool))))
    assert abs(answers[0][0] - answers[0][1]).max() > 1e-4
    np.testing.assert_array_equal(answers[1][0], answers[1][1])


@pytest.mark.full
def test_what_a_run_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert command("babi", *TINY, "--run-dir", folder) == 0
    accuracy = json.loads((folder / "results.json").read_text())["accuracy"]
    assert len(accuracy) == 3
    assert all(0 <= value <= 1 for (value,) in accuracy.values())
    nets = read_arrays(folder, "nets")
    (writes,) = [values for name, values in nets.items() if name.endswith("watched|writes")]
    np.testing.assert_allclose(writes.sum(axis=-1), 1, rtol=1e-5)
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert len(drawn) == 2
    assert "accuracy.png" in drawn
    assert "the commonest answer" in (folder / "table.txt").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--tasks", 4), "--tasks 4 can't be made"),
        (("--preset", "babi"), "--data.dir is missing"),
        (("--direction", "both"), "needs no memory for the story"),
        (("--data.dir", "nowhere"), "there is no folder nowhere"),
        (("--cells", "ntm(slots=0)"), "slots must be a whole number of at least 1"),
    ],
)
def test_refusals(options: tuple[Any, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("babi", *options) == 2
    assert said in capsys.readouterr().err


def test_a_story_without_a_question(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "test"):
        (tmp_path / f"qa1_some_{split}.txt").write_text("1 Anna left.\n2 Who left?\tAnna\n1 Emil left.\n")
    assert command("babi", "--tasks", 1, "--data.dir", tmp_path) == 2
    assert "has no question" in capsys.readouterr().err
