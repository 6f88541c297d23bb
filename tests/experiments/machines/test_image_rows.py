"""Digits read row by row: what each row put into the last read, what a run leaves, mistakes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from data import ImagesConfig, load_images
from data.images import rows_of
from experiments.harness.files import read_arrays
from experiments.machines.heads import diagnostics, last_read
from models import Dense, NeuralTuringMachine
from tests.experiments.command import command

TINY: tuple[Any, ...] = ("--cells", "ntm(controller=dense(5), slots=4, width=3)", "--hidden-size", 5)
TINY += ("--batch-size", 8, "--steps", 2, "--eval-every", 2, "--save-every", 2, "--devices", 1)


def test_rows_are_those_of_the_image() -> None:
    images = load_images(ImagesConfig())["test"]
    rows = rows_of(images, 8, blanks=2)
    assert rows.inputs.shape == (270, 10, 8)
    np.testing.assert_array_equal(rows.inputs[7, 3], images.inputs[7, 24:32, 0])
    assert not rows.inputs[:, 8:].any()


def test_what_is_read_last_is_what_the_steps_put_there() -> None:
    """And what is left of the memory at the start."""
    machine = NeuralTuringMachine(5, Dense(5), slots=4, width=3, reads=2, writes=2, memory_start="learned")
    params = machine.init(jax.random.key(0), 6)
    xs = jax.random.normal(jax.random.key(1), (7, 6))
    seen = {name: np.asarray(value, np.float64) for name, value in diagnostics(machine, params, xs).items()}
    left = np.asarray(params["start"]["memory"], np.float64)
    for weights, erase in zip(seen["write_weights"], seen["erase"], strict=True):
        for w, e in zip(weights, erase, strict=True):
            left = left * (1 - np.outer(w, e))
    read = seen["read_weights"][-1]
    np.testing.assert_allclose(
        last_read(seen).sum(axis=0) + read @ left, read @ seen["memory"][-1], rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
def test_what_a_run_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert command("image_rows", *TINY, "--run-dir", folder) == 0
    results = json.loads((folder / "results.json").read_text())
    on, off = results["accuracy"].values()
    assert 0 <= on <= 1
    assert off == pytest.approx(0.1, abs=0.02)  # one answer for all images
    assert results["baselines"]["nearest class mean"] > 0.8
    nets = read_arrays(folder, "nets")
    (held,) = [values for name, values in nets.items() if name.endswith("watched|held")]
    np.testing.assert_allclose(held.sum(axis=1), 1, rtol=1e-5)
    assert len(list((folder / "figures").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--preset", "mnist"), "--data.dir is missing: --preset mnist is for MNIST's files"),
        (("--data.dir", __file__), "test_image_rows.py is no folder: give that of MNIST's four files"),
        (("--direction", "both"), "--direction both needs no memory for the image"),
        (("--cells", "ntm(slots=2)"), "shift is 1, which moves a head to 3 places"),
        (("--cells", "ntm(shift=1.5)"), "shift must be of type int, but is 1.5"),
        (("--cells", "ntm(writes=33)"), "writes is 33, more heads than the 32 rows of the memory"),
        (("--shown", 0), "--shown must be a whole number of at least 1"),
    ],
)
def test_refused(options: tuple[Any, ...], said: str, refused: Callable[..., None]) -> None:
    refused(said, "image_rows", *options)


def test_a_picture_where_rows_are_expected(tmp_path: Path, mistake: Callable[..., str]) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / f"{name}-ubyte").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    said = mistake("image_rows", "--data.dir", tmp_path, "--data.cache", tmp_path / "kept")
    assert "is no IDX file of bytes with 3 axes" in said
