"""Speech from the command line: what a run leaves, resuming, what it hears, and mistakes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.speech.sound import Sound, wav_bytes
from experiments.harness.files import read_arrays
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from tests.experiments.conftest import alone

SMALL = ("--hidden-size", 6, "--batch-size", 4, "--held-out", 6, "--features.filters", 8, "--width", 2)
SMALL += ("--join.fewest", 2, "--join.most", 3, "--pad", 64, "--direction", "forward")
SMALL += ("--features.no-centred", "--features.normalise", "training")
SMALL += ("--steps", 20, "--eval-every", 10, "--save-every", 10, "--chunk", 10, "--optimizer.warmup-steps", 2)


@pytest.fixture(scope="session")
def run(shared: Path) -> Path:
    """A finished run on keypad tones; to be read only."""
    with alone(shared, "speech") as folder:
        if not (folder / "results.json").exists():
            assert command("speech", *SMALL, "--devices", 1, "--run-dir", folder) == 0
    return folder


def tone(path: Path, rate: int = 8000) -> Path:
    path.write_bytes(wav_bytes(Sound(np.sin(np.arange(rate) / 3).astype(np.float32) / 2, rate)))
    return path


@pytest.mark.slow
def test_what_a_run_leaves(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert set(results["systems"]) == {"CTC", "frame by frame, trimmed"}
    assert results["test"]["cer"] == results["systems"]["CTC"]["cer"]
    assert results["baselines"]["perfect, trimmed"]["cer"] > 0
    table = (run / "table.txt").read_text()
    assert f"{results['test']['cer']:.2%}" in table
    assert "CTC, beam 2" in table
    shown = read_arrays(run, "nets/ctc")
    for place in range(2):
        np.testing.assert_allclose(shown[f"probabilities|{place}"].sum(axis=1), 1, rtol=1e-5)
    for path in (run / "figures").glob("*.png"):
        path.unlink()
    assert command("inspect", run) == 0
    assert {path.stem for path in (run / "figures").glob("*.png")} == {"training", "alignment"}


@pytest.mark.slow
def test_it_hears_a_file(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At another rate too; in pieces what it says of the whole, and prefix search."""
    for rate in (8000, 16000):
        path, said = tone(tmp_path / "a.wav", rate), []
        for options in ((), ("--stream",), ("--width", 3)):
            assert command("recognise", run, path, *options) == 0
            said.append(capsys.readouterr().out)
        assert said[0] == said[1]
        assert all(set(text.strip()) <= set("0123456789") for text in said)


@pytest.mark.full
def test_resumed_is_as_whole(run: Path, tmp_path: Path) -> None:
    part = shutil.copytree(run, tmp_path / "part")
    shutil.rmtree(part / "nets" / "trimming" / "checkpoints" / "20")
    (part / "arrays" / "nets" / "trimming.npz").unlink()
    (part / "results.json").unlink()
    assert command("speech", *SMALL, "--resume", part) == 0
    assert newest_checkpoint(part / "nets" / "trimming") == newest_checkpoint(run / "nets" / "trimming")
    assert untimed(part / "nets" / "trimming") == untimed(run / "nets" / "trimming")
    assert arrays_bytes(part) == arrays_bytes(run)


@pytest.mark.full
def test_decoders_that_attend(tmp_path: Path) -> None:
    """Alone, and with CTC on the encoder, which has an output layer more; what they write is scored and shown."""
    run = tmp_path / "run"
    options = ("--systems", "attention", "joint", "--steps", 10)
    assert command("speech", *SMALL, *options, "--devices", 1, "--run-dir", run) == 0
    results = json.loads((run / "results.json").read_text())
    assert set(results["systems"]) == {"attention", "attention and CTC"}
    assert "attention, beam 2" in (run / "table.txt").read_text()
    sizes = [int(read_arrays(run, f"nets/{name}")["parameters"]) for name in ("attention", "joint")]
    assert sizes[1] - sizes[0] == (6 + 1) * 11
    assert {path.stem for path in (run / "figures").glob("*.png")} == {"training"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve recordings of "go", of which the last is too short for what it says."""
    folder, rng = tmp_path / "corpus", np.random.default_rng(0)
    folder.mkdir()
    for number in range(12):
        samples = rng.uniform(-0.3, 0.3, 200 if number == 11 else 2000).astype(np.float32)
        (folder / f"{number}.wav").write_bytes(wav_bytes(Sound(samples, 8000)))
    rows = [f"{number}.wav,{'good' if number == 11 else 'go'}\n" for number in range(12)]
    (folder / "train.csv").write_text("".join(["file,text\n", *rows]))
    return folder


@pytest.mark.full
def test_a_short_recording_is_named_and_can_be_left_out(
    corpus: Path, refused: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("speech", "--data.dir", corpus, "--data.cache", corpus.with_suffix(".kept"), *SMALL)
    refused("11.wav is too short: it has 1 steps, and its 4 labels need 5", *given)
    options = ("--data.skip-bad", 1, "--systems", "ctc", "--steps", 10)
    assert command(*given, *options, "--devices", 1, "--run-dir", corpus.parent / "run") == 0
    said = capsys.readouterr().out
    assert "left out: " in said
    assert "11.wav is too short" in said
    assert "  train " in said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("none.wav,go", "row 2 of {corpus}/train.csv: there is no file {corpus}/none.wav"),
        ("0.wav,gö", "row 2 of {corpus}/train.csv has the letter 'ö'"),
    ],
)
def test_a_bad_row_is_refused(row: str, said: str, corpus: Path, refused: Callable[..., None]) -> None:
    table = corpus / "train.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("\n0.wav,go", f"\n{row}"), encoding="utf-8")
    refused(said.format(corpus=corpus), "speech", "--data.dir", table)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--systems", "ctc", "ctc"), "--systems names one twice"),
        (("--share", 1.0), "--share must lie between 0 and 1, but is 1"),
        (("--data.left-out", "theo"), "--data.left-out theo is for recordings of speakers"),
        (("--preset", "fsdd"), "--data.dir is missing: --preset fsdd is for recordings"),
        (("--features.filters", 200), "--features.filters is 200: filter 2 is narrower"),
        (("--join.fewest", 9), "--join.fewest is 9 and join.most 8"),
        (("--direction", "forward", "--health.every", 10), "--health.every isn't measured of recognition"),
        (("--data.dir", "/nowhere"), "there is no file or folder /nowhere"),
    ],
)
def test_refused(given: tuple[Any, ...], said: str, refused: Callable[..., None]) -> None:
    refused(said, "speech", *given)


@pytest.mark.slow
def test_recognise_refuses(run: Path, tmp_path: Path, refused: Callable[..., None]) -> None:
    path = tone(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_text("no sound")
    refused(f"{tmp_path}/b.wav is no WAV file", "recognise", run, tmp_path / "b.wav")
    refused(f"there is no file {tmp_path}/c.wav", "recognise", run, tmp_path / "c.wav")
    refused("--width 4 searches whole files", "recognise", run, path, "--stream", "--width", 4)
    refused(f"{tmp_path} is not a run folder", "recognise", tmp_path, path)
