"""Canvases of handwritten digits with captions: "a three left of an eight above a one".

A canvas holds one or two rows of one or two digits, each digit a little out of place; its caption reads it row by
row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from data.digits import digits
from data.examples import ArrayExamples, array_digest
from data.images import ImagesConfig, load_images
from data.position import random_words
from data.speech.labels import Labels
from data.synthetic.number_words import number_in_words
from data.text.pair_batches import PairExample

MARGIN = 2  # pixels by which a digit may be out of place
LAYOUTS = ((1,), (2,), (1, 1), (1, 2), (2, 1), (2, 2))  # digits of each row
MOST_DIGITS = 4
_WORDS = 1 + 3 * MOST_DIGITS + 2  # random words of a canvas
_SPLITS = ("train", "validation", "test")
NUMERALS = tuple(number_in_words(digit, "en") for digit in range(10))
LABELS = Labels(tuple(sorted({*NUMERALS, "a", "an", "left", "of", "above"})), "words")
LONGEST = 14  # words of a caption of four digits, and the end mark


@dataclass(frozen=True)
class CaptionsConfig:
    """The choice of canvases and of how they are read."""

    dir: Path | None = None
    """The folder of MNIST's four files in IDX format, plain or gzipped. Default: scikit-learn's digits, 8×8."""
    side: Literal[28, 14] = 14
    """Pixels of a side of MNIST's images: 14 takes the means of 2×2 pixels."""
    most: int = MOST_DIGITS
    """Most digits on a canvas."""
    count: int = 12_000
    """Canvases for training."""
    held_out: int = 500
    """Canvases for validation, and as many for test, of images that aren't used for training."""
    read: Literal["rows", "patches"] = "rows"
    """Read a canvas row by row, a step for each row of pixels, or patch by patch."""
    patch: int = 4
    """Pixels of a side of a patch."""
    seed: int = 0
    """Seed of the canvases."""
    cache: Path | None = None
    """Folder for the prepared images of --data.dir. Default: one in the user's cache."""

    def check(self) -> None:
        """Raises ValueError for a number outside its range, before any file is read."""
        if not 1 <= self.most <= MOST_DIGITS:
            raise ValueError(f"--data.most is {self.most}: a canvas holds 1 to {MOST_DIGITS} digits")
        for name in ("count", "held_out", "patch"):
            if getattr(self, name) < 1:
                option = f"--data.{name.replace('_', '-')}"
                raise ValueError(f"{option} must be 1 or more, but is {getattr(self, name)}")
        if self.dir is None and self.side != CaptionsConfig.side:
            raise ValueError(f"--data.side {self.side} is for MNIST's images: give their --data.dir")
        if self.read == "patches" and self.canvas % self.patch:
            raise ValueError(
                f"--data.patch {self.patch} doesn't divide the {self.canvas} pixels of a side of the canvas: "
                "take another"
            )

    @property
    def digit(self) -> int:
        """Returns the pixels of a side of a digit."""
        return 8 if self.dir is None else self.side

    @property
    def canvas(self) -> int:
        """Returns the pixels of a side of a canvas."""
        return 2 * (self.digit + MARGIN)

    @property
    def sizes(self) -> tuple[int, int]:
        """Returns the steps in which a canvas is read, L, and the numbers of a step, D."""
        if self.read == "rows":
            return self.canvas, self.canvas
        return (self.canvas // self.patch) ** 2, self.patch**2


class Canvases(NamedTuple):
    """Canvases `[N, S, S]` in [0, 1], their captions, and the steps `[N, L, D]` in which they are read."""

    images: np.ndarray
    captions: list[str]
    steps: np.ndarray

    @property
    def examples(self) -> list[PairExample]:
        """Returns the steps of each canvas with the ids of its caption, the end mark 0 last."""
        targets = (np.append(LABELS.encode(caption), np.int32(0)) for caption in self.captions)
        return [PairExample(*pair) for pair in zip(self.steps, targets, strict=True)]

    @property
    def digest(self) -> str:
        """Returns sixteen hexadecimal digits of the canvases."""
        return array_digest([self.images])


def load_canvases(config: CaptionsConfig) -> dict[str, Canvases]:
    """Makes the canvases of each split, train, validation and test, of images of that split alone.

    Raises ValueError for every fault of options and files.
    """
    config.check()
    if config.dir is None:
        parts: Mapping[str, ArrayExamples] = {split: digits(split) for split in _SPLITS}
    else:
        parts = load_images(ImagesConfig(dir=config.dir, side=config.side, cache=config.cache))
    counts = (config.count, config.held_out, config.held_out)
    found = {}
    for stream, (split, count) in enumerate(zip(_SPLITS, counts, strict=True)):
        part = parts[split]
        pixels = part.inputs[..., 0].reshape(len(part), config.digit, config.digit)
        words = random_words(_WORDS * count, config.seed, stream).reshape(count, _WORDS).tolist()
        drawn = [draw_canvas(pixels, part.targets, row, config.most) for row in words]
        images = np.stack([image for image, _ in drawn])
        found[split] = Canvases(images, [caption for _, caption in drawn], steps_of(images, config))
    return found


def draw_canvas(
    pixels: np.ndarray, labels: np.ndarray, words: list[int], most: int
) -> tuple[np.ndarray, str]:
    """Draws a canvas `[S, S]` of 1 to `most` of the digits `[N, d, d]`, each number as likely, and its caption,
    from random words."""
    first, second, *rest = words
    draws = iter(rest)
    layouts = [layout for layout in LAYOUTS if sum(layout) == 1 + first % most]
    layout = layouts[second % len(layouts)]
    side = pixels.shape[1]
    band = side + MARGIN
    canvas, rows = np.zeros((2 * band, 2 * band), np.float32), []
    for row, count in enumerate(layout):
        # A single row of one digit lies anywhere; of two, each has its half.
        top = next(draws) % (band + 1) if len(layout) == 1 else row * band
        numerals = []
        for column in range(count):
            index = next(draws) % len(labels)
            left = next(draws) % (2 * band - side + 1) if count == 1 else column * band
            left += next(draws) % (MARGIN + 1) if count == 2 else 0
            y = top + next(draws) % (MARGIN + 1)
            canvas[y : y + side, left : left + side] = np.maximum(
                canvas[y : y + side, left : left + side], pixels[index]
            )
            numerals.append(named(int(labels[index])))
        rows.append(" left of ".join(numerals))
    return canvas, " above ".join(rows)


def named(digit: int) -> str:
    """Returns a digit with its article."""
    return f"{'an' if digit == 8 else 'a'} {NUMERALS[digit]}"


def steps_of(images: np.ndarray, config: CaptionsConfig) -> np.ndarray:
    """Returns canvases `[N, S, S]` as `[N, L, D]`: their rows, or their patches row by row."""
    if config.read == "rows":
        return images
    count, side, patch = len(images), config.canvas // config.patch, config.patch
    cut = images.reshape(count, side, patch, side, patch).swapaxes(2, 3)
    return np.ascontiguousarray(cut).reshape(count, side**2, patch**2)


def over_canvas(weights: np.ndarray, config: CaptionsConfig) -> np.ndarray:
    """Returns weights of the steps `[..., L]` as maps `[..., S, S]` over the canvas, each pixel with the weight of
    its step."""
    if config.read == "rows":
        return np.repeat(weights[..., None], config.canvas, axis=-1)
    side, patch = config.canvas // config.patch, config.patch
    grid = weights.reshape(*weights.shape[:-1], side, side)
    return grid.repeat(patch, axis=-2).repeat(patch, axis=-1)
