"""MNIST from the command line: on the digits that stand in for it, and on files that the tests write."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data import load_images
from data.images import ImagesConfig, nearest_mean
from experiments.harness.files import read_arrays
from tests.data.test_images import write
from tests.experiments.command import arrays_bytes, command

SMALL = ("--cells", "elman", "gru(max_lag=T)", "--hidden-size", 4, "--batch-size", 8, "--devices", 1)
SMALL += ("--steps", 20, "--eval-every", 10, "--save-every", 10, "--chunk", 10, "--optimizer.warmup-steps", 2)


def test_nearest_mean_beside_a_loop() -> None:
    images = load_images(ImagesConfig())
    train, test = images["train"], images["test"]
    means = [train.inputs[train.targets == k].mean(axis=0) for k in range(10)]
    guesses = [int(np.argmin([((x - mean) ** 2).sum() for mean in means])) for x in test.inputs]
    assert nearest_mean(images) == np.mean(guesses == test.targets)


@pytest.mark.full
def test_files_side_by_side(tmp_path: Path) -> None:
    """Two cells on 14×14 pixels of random images, permuted: table, figure, times; a second command changes
    nothing."""
    write(tmp_path / "files", train=40, test=12)
    options = ("--data.dir", tmp_path / "files", "--data.cache", tmp_path / "kept", "--data.side", 14)
    command_line = ("mnist", *options, "--data.permuted", *SMALL)
    folder = tmp_path / "run"
    assert command(*command_line, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    assert set(results["cells"]) == {"elman", "gru max_lag=T"}
    assert set(results["baselines"]) == {"guessing", "nearest class mean"}
    table = (folder / "table.txt").read_text()
    assert "MNIST 14 × 14, pixels permuted: accuracy on 12 test images" in table
    arrays = read_arrays(folder, "mnist")
    assert arrays["elman|curve|step"].tolist() == [0, 10, 20]
    for net in results["cells"].values():
        assert 0 < net["seconds_a_step"] < 60
        assert 0 <= net["accuracy"] <= 1
    assert [path.stem for path in (folder / "figures").glob("*.png")] == ["accuracy_against_minutes"]
    before = {k: v for k, v in arrays_bytes(folder).items() if "seconds" not in k}
    assert command(*command_line, "--resume", folder) == 0
    assert {k: v for k, v in arrays_bytes(folder).items() if "seconds" not in k} == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--preset", "sequential"), "--data.dir is missing: --preset sequential is for MNIST's files"),
        (("--data.side", 14), "--data.side 14 is for MNIST's images"),
        (("--data.dir", "nowhere"), "nowhere has no file train-images-idx3-ubyte"),
        (("--cells",), "--cells names no cell"),
    ],
)
def test_refused(given: tuple, said: str, refused: Callable[..., None]) -> None:
    refused(said, "mnist", *given)
