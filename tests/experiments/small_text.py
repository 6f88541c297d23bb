"""A small text of three files, and options with which a language model of it is trained in a moment."""

from pathlib import Path

import numpy as np

WORDS = "the cat sat on the mat\nthe dog sat\na cat and a dog ran on the mat\n\nthe end of it\n"
TINY = (
    "--hidden-size",
    5,
    "--steps",
    60,
    "--eval-every",
    20,
    "--save-every",
    20,
    "--log-every",
    5,
    "--chunk",
    10,
)
TINY += ("--batch-size", 4, "--length", 6, "--eval-rows", 3, "--examples", 4, "--lags", 5, "--positions", 8)
TINY += ("--sample-tokens", 20, "--devices", 1, "--edge-dropout", 0, "--optimizer.learning-rate", 0.03)


def write(folder: Path, times: int = 20) -> Path:
    """A small text of three files."""
    folder.mkdir(exist_ok=True)
    (folder / "train.txt").write_text(WORDS * times)
    (folder / "valid.txt").write_text("the cat ran\nthe bird sat on it\n" * 3)
    (folder / "test.txt").write_text("a dog sat on the mat\n" * 4)
    return folder


def known(tokens: int, seed: int = 0) -> np.ndarray:
    """Numbers of four words."""
    return np.random.default_rng(seed).integers(0, 4, tokens).astype(np.int32)
