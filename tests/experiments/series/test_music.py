"""Music from the command line: what a run leaves, resuming, its baselines beside a loop, mistakes."""

import io
import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from experiments.harness.files import read_arrays
from experiments.series.music_baselines import baselines
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from tests.experiments.conftest import alone

SMALL = ("--hidden-size", 6, "--pitch-units", 4, "--batch-size", 8, "--samples", 2, "--sample-length", 5)
SMALL += ("--steps", 20, "--eval-every", 10, "--save-every", 10, "--chunk", 10, "--optimizer.warmup-steps", 2)
NETS = ("gru_independent", "gru_pitch_by_pitch")


def test_baselines_beside_a_loop() -> None:
    rng = np.random.default_rng(0)
    train, test = ([rng.random((length, 88)) < 0.3 for length in lengths] for lengths in ((4, 3), (5, 2)))
    found = baselines(train, test)
    after = [step for piece in train for step in piece[1:]]
    pairs = [pair for piece in train for pair in itertools.pairwise(piece)]
    marginal = chain = 0.0
    count = 0
    for piece in test:
        for before, notes in itertools.pairwise(piece):
            count += 1
            for pitch in range(88):
                p = (sum(step[pitch] for step in after) + 0.5) / (len(after) + 1)
                marginal -= math.log(p if notes[pitch] else 1 - p)
                alike = [new[pitch] for old, new in pairs if old[pitch] == before[pitch]]
                p = (sum(alike) + 0.5) / (len(alike) + 1)
                chain -= math.log(p if notes[pitch] else 1 - p)
    np.testing.assert_allclose(found["frequency of each pitch"], marginal / count)
    np.testing.assert_allclose(found["Markov chain of each pitch"], chain / count)


@pytest.fixture(scope="session")
def pieces(shared: Path) -> Path:
    """A small file of pieces."""
    with alone(shared, "pieces"):
        path, rng = shared / "pieces.json", np.random.default_rng(0)

        def piece() -> list[list[int]]:
            steps = range(int(rng.integers(4, 12)))
            return [sorted(set(rng.integers(50, 70, 3).tolist())) for _ in steps]

        path.write_text(
            json.dumps({split: [piece() for _ in range(10)] for split in ("train", "valid", "test")})
        )
    return path


@pytest.fixture(scope="session")
def options(pieces: Path) -> tuple[Any, ...]:
    return ("music", "--data.dir", pieces, "--data.cache", pieces.with_suffix(".kept"), *SMALL)


@pytest.fixture(scope="session")
def run(shared: Path, options: tuple[Any, ...]) -> Path:
    """A finished run on the file; to be read only."""
    with alone(shared, "music") as folder:
        if not (folder / "results.json").exists():
            assert command(*options, "--devices", 1, "--run-dir", folder) == 0
    return folder


def test_what_a_run_leaves(run: Path, pieces: Path) -> None:
    """Both outputs and both baselines; samples that begin like the test pieces; MIDI of them."""
    results = json.loads((run / "results.json").read_text())
    assert set(results["test"]) == {"gru, independent", "gru, pitch by pitch"}
    table = (run / "table.txt").read_text()
    for net in (*results["test"].values(), *results["baselines"].values()):
        assert 0 < net["nll"] < 88 * math.log(2) * 1.5
        assert f"{net['nll']:.3f}" in table
    content = json.loads(pieces.read_text())["test"]
    for name in NETS:
        samples = read_arrays(run, f"nets/{name}")["samples"]
        assert samples.shape == (2, 5, 88)
        for i, sample in enumerate(samples):
            assert (np.flatnonzero(sample[0]) + 21).tolist() == content[i][0]
            file = mido.MidiFile(file=io.BytesIO((run / "midi" / f"{name}_{i + 1}.mid").read_bytes()))
            begun = sum(message.type == "note_on" for message in file.tracks[0])
            before = np.concatenate([np.zeros((1, 88), bool), sample[:-1]])
            assert begun == (sample & ~before).sum()
    assert {path.name for path in (run / "midi").glob("data_*")} == {"data_1.mid", "data_2.mid"}
    for path in (run / "figures").glob("*.png"):
        path.unlink()
    assert command("inspect", run) == 0
    assert {path.stem for path in (run / "figures").glob("*.png")} == {"training", "piano_rolls"}


@pytest.mark.full
def test_resumed_is_as_whole(run: Path, options: tuple[Any, ...], tmp_path: Path) -> None:
    part = shutil.copytree(run, tmp_path / "part")
    shutil.rmtree(part / "nets" / NETS[1] / "checkpoints" / "20")
    (part / "arrays" / "nets" / f"{NETS[1]}.npz").unlink()
    (part / "results.json").unlink()
    assert command(*options, "--resume", part) == 0
    for name in NETS:
        assert newest_checkpoint(part / "nets" / name) == newest_checkpoint(run / "nets" / name)
        assert untimed(part / "nets" / name) == untimed(run / "nets" / name)
    assert arrays_bytes(part) == arrays_bytes(run)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--cells", "gru", "gru"), "--cells names a cell twice"),
        (("--outputs", "independent", "independent"), "--outputs names one twice"),
        (("--direction", "backward"), "--direction backward reads the notes that are asked for"),
        (("--cells", "batch_norm_lstm"), "--cells batch_norm_lstm couples the pieces of a batch"),
        (("--edge-dropout", 1), "--edge-dropout 1.0: "),
        (("--samples", 11), "--samples 11 are more than the 10 test pieces"),
    ],
)
def test_refused(given: tuple, said: str, options: tuple[Any, ...], refused: Callable[..., None]) -> None:
    refused(said, *options, *given)


def test_a_preset_without_its_data(refused: Callable[..., None]) -> None:
    refused("--data.dir is missing: --preset jsb_gru is for the chorales", "music", "--preset", "jsb_gru")
