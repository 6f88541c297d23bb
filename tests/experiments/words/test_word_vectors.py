"""Word vectors from the command line: the step, a small run and what it leaves, commands that ask it, refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import WindowBatch, WordTextConfig, WordWindows, read_vectors
from data.words.text import word_text
from experiments.words.config import WordVectorConfig
from experiments.words.objective import APPLY, windows_of, word_objective
from models.words.vectors import Tables, Windows, WordModel, descend, window_loss
from tests.experiments.command import arrays_bytes, command, newest_checkpoint
from train import create_state
from train.step import train_step

RNG = np.random.default_rng(0)
# Pairs of words that occur together and no others: a b, c d, …, in sentences of one pair repeated.
TEXT = "\n".join(" ".join([f"{'aceg'[n]}x", f"{'bdfh'[n]}x"] * 4) for n in RNG.integers(0, 4, 300))
SMALL = ("--size", 8, "--sample", 0, "--window", 2, "--centres", 64, "--shared", 32, "--noise", 8)
SMALL += ("--epochs", 20, "--batch-size", 4, "--rate", 0.02, "--eval-every", 80, "--save-every", 40)
SMALL += ("--chunk", 20, "--drawn", 8, "--log-every", 20, "--devices", 1)


def test_step_descends_through_small_batches() -> None:
    """A training step ends where M steps of descent end, one after another; its loss is that of the first."""
    text = word_text([TEXT], WordTextConfig(min_count=1), {})
    windows = WordWindows(
        text,
        window=2,
        sample=0.0,
        power=1.0,
        centres=64,
        shared=32,
        noise=8,
        small_batches=3,
        seed=0,
        rate=0.1,
    )
    batch = WindowBatch(*(leaf[0] for leaf in windows.take(1)))
    params: Any = WordModel(len(text.vocabulary), 6).init(jax.random.key(0))
    log_noise = jnp.log(jnp.asarray(windows.noise_probability, jnp.float32))
    objective, _ = word_objective("skip_gram", "negative_sampling", 5, log_noise)
    options = "skip_gram", "negative_sampling", 5, log_noise
    state = create_state(params, APPLY, jax.random.key(0))
    after, metrics = jax.jit(lambda state: train_step(state, batch, loss_fn=objective.loss, optimizer=APPLY))(
        state
    )
    tables, ones = Tables(**params["params"]), windows_of(batch)
    count = float(np.sum(batch.left[0].astype(int) + batch.right[0]))
    first = jax.tree.map(lambda leaf: leaf[0], ones)
    assert metrics["loss"] == pytest.approx(float(window_loss(tables, first, *options)) / count, rel=1e-5)
    step = jax.jit(descend, static_argnums=(3, 4, 5))
    for one in zip(*ones, strict=True):
        tables = step(tables, Windows(*one), jnp.float32(0.1), *options)
    for name, wanted in tables._asdict().items():
        np.testing.assert_allclose(after.params["params"][name], wanted, atol=1e-6)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the pairs, with a similarity set and analogies of them."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "text.txt").write_text(TEXT)
    (folder / "tests").mkdir()
    (folder / "tests" / "pairs.txt").write_text(
        "ax bx 9\ncx dx 9\nax cx 1\nex bx 1\nfx hx 2\nex fx 8\nax none 3\n"
    )
    (folder / "tests" / "questions.txt").write_text(": pairs\nax bx cx dx\nax bx ex none\n")
    options = (
        "--data.dir",
        folder / "text.txt",
        "--data.cache",
        folder / "cache",
        "--tests",
        folder / "tests",
    )
    assert command("word_vectors", *options, *SMALL, "--run-dir", folder / "run") == 0
    return folder / "run"


def test_words_that_occur_together_are_near(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, matrix = read_vectors(run / "vectors.txt")
    assert set(words) == {"ax", "bx", "cx", "dx", "ex", "fx", "gx", "hx"}
    with np.load(run / "arrays" / "measured.npz") as arrays:
        np.testing.assert_array_equal(matrix, arrays["vectors"])
        assert arrays["map"].shape == (8, 2)
    for a, b in ("ab", "cd", "ef", "gh"):
        assert command("neighbours", run, f"{a}x", "--count", 1) == 0
        assert capsys.readouterr().out.split()[2] == f"{b}x"
    assert {path.name for path in (run / "figures").glob("*.png")} == {
        "training.png",
        "word_map.png",
        "analogies.png",
    }
    table = (run / "table.txt").read_text()
    assert "pairs: 6 of 7 pairs have vectors" in table
    assert "covered" in table


def test_commands(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("analogy", run, "ax", "bx", "cx", "--distance", "euclidean") == 0
    out = capsys.readouterr().out
    assert out.startswith("ax is to bx as cx is to\n")
    assert {line.split()[0] for line in out.splitlines()[2:]} == {"dx", "ex", "fx", "gx", "hx"}
    assert command("analogy", run / "vectors.txt", "ax", "one", "two") == 2
    assert "'one', 'two' is not in the vocabulary of 8 words" in capsys.readouterr().err
    assert command("neighbours", run) == 2
    assert "name at least one" in capsys.readouterr().err


@pytest.mark.full
def test_resumed_to_the_same_bits(run: Path, tmp_path: Path) -> None:
    """Ended at step 55 of 188 and resumed from the checkpoint: the same parameters and arrays."""
    folder, text = tmp_path / "run", run.parent / "text.txt"
    options = (
        "--data.dir",
        text,
        "--data.cache",
        run.parent / "cache",
        "--tests",
        run.parent / "tests",
        *SMALL,
    )
    assert command("word_vectors", *options, "--steps", 55, "--run-dir", folder) == 0
    assert command("word_vectors", *options, "--resume", folder) == 0
    assert newest_checkpoint(folder)[1] == newest_checkpoint(run)[1]
    measured = {name: value for name, value in arrays_bytes(run).items() if name.startswith("measured")}
    assert measured.items() <= arrays_bytes(folder).items()


def test_refusals(refused: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    (tmp_path / "broken.txt").write_text("ax bx\n")
    here = ("word_vectors", "--data.dir", "text.txt", "--data.cache", "cache")
    refused("line 1 of broken.txt is 'ax bx'", *here, "--tests", "broken.txt")
    refused("--words names 'zx', which is not in the vocabulary", *here, "--words", "zx")
    refused("--centres must be a multiple of 64, but is 96", *here, "--centres", 96)
    refused("--last-rate 1 is above the first, 0.025", *here, "--last-rate", 1)
    refused("there is no file or folder none", "word_vectors", "--data.dir", "none")
    refused("--data.min-count must be 1 or more", "word_vectors", "--data.min-count", 0)


def test_defaults() -> None:
    """Skip-gram's and CBOW's own numbers where none are given."""
    one, other = WordVectorConfig(), WordVectorConfig(architecture="cbow")
    assert (one.shared_centres, one.noise_words, one.first_rate) == (64, 64, 0.025)
    assert (other.shared_centres, other.noise_words) == (128, 32)
