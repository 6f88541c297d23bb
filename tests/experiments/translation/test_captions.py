"""Captions from the command line: what a run leaves, mistakes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.harness.files import read_arrays
from tests.experiments.command import command

SMALL = (
    *("--data.count", 40, "--data.held-out", 6, "--data.read", "patches", "--data.patch", 5),
    *("--hidden-size", 6, "--batch-size", 8, "--steps", 4, "--eval-every", 4, "--save-every", 4),
    *("--shown", 2, "--devices", 1, "--optimizer.warmup-steps", 2),
)


@pytest.mark.slow
def test_what_a_run_leaves(tmp_path: Path) -> None:
    assert command("captions", *SMALL, "--run-dir", tmp_path / "run") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["test"]) == {"cross_entropy", "exact", "words"}
    assert set(results["baselines"]) == {"the commonest caption", "the nearest canvas"}
    found = read_arrays(tmp_path / "run", "measured")
    for place in range(2):  # the weights of the 16 patches of 25 pixels sum to 1
        weights = found[f"weights|{place}"]
        assert weights.shape == (len(found[f"digits|{place}"]), 20, 20)
        np.testing.assert_allclose(weights.sum(axis=(1, 2)) / 25, 1, rtol=1e-5)
    assert {path.stem for path in (tmp_path / "run" / "figures").glob("*.png")} == {"training", "attention"}


def test_refuses(refused: Callable[..., None], tmp_path: Path) -> None:
    refused("--data.dir is missing: --preset mnist is for MNIST's files", "captions", "--preset", "mnist")
    refused("--data.most is 9: a canvas holds 1 to 4 digits", "captions", "--data.most", 9)
    refused("--data.patch 3 doesn't divide", "captions", "--data.read", "patches", "--data.patch", 3)
    refused(f"{tmp_path} has no file train-images-idx3-ubyte", "captions", "--data.dir", tmp_path)
