"""MNIST from its own files, read pixel by pixel; without files, scikit-learn's smaller digits."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from data.digits import DIGITS_PIXELS, digits
from data.examples import ArrayExamples
from data.position import random_order
from data.text.cache_folder import prepare_once
from data.text.files import read_bytes

SIDE, BLOCK = 28, 1000  # of an image; images of a record
VALIDATION = 5000  # the last of the training images
# Of each split the beginnings of the names of its two files.
FILES = {"train": "train", "test": "t10k"}
_IMAGES, _LABELS = 0x803, 0x801  # the numbers with which the files begin
_PERMUTATION_SEED = 784


@dataclass(frozen=True)
class ImagesConfig:
    """The choice of images and of how they are read."""

    dir: Path | None = None
    """The folder of MNIST's four files in IDX format, plain or gzipped. Default: scikit-learn's digits, 8×8."""
    side: Literal[28, 14] = 28
    """Pixels of a side of MNIST's images: 14 reads the means of 2×2 pixels, in 196 steps for 784."""
    permuted: bool = False
    """Read the pixels in one fixed random order."""
    cache: Path | None = None
    """Folder for the prepared images of --data.dir. Default: one in the user's cache."""

    @property
    def pixels(self) -> int:
        """Returns the steps of a sequence."""
        return DIGITS_PIXELS if self.dir is None else self.side**2

    @property
    def title(self) -> str:
        """Names the images and the order of their pixels."""
        name = "digits" if self.dir is None else f"MNIST {self.side} × {self.side}"
        return f"{name}, pixels {'permuted' if self.permuted else 'in order'}"


class Images(NamedTuple):
    """Images `[N, 28, 28]` and labels `[N]`, uint8."""

    images: np.ndarray
    labels: np.ndarray


def load_images(config: ImagesConfig) -> dict[str, ArrayExamples]:
    """Returns train, validation and test as sequences: inputs `[N, pixels, 1]` in [0, 1], targets 0 … 9.

    MNIST's files are prepared once and then read from the cache, as `prepare_once` does. Validation is the last
    5,000 of the training images. Pixels are read row by row or, with `permuted`, in an order that is the same for
    every image and run.

    Raises ValueError for every fault of the files.
    """
    if config.dir is None:
        if config.side != SIDE:
            raise ValueError(f"--data.side {config.side} is for MNIST's images: give their --data.dir")
        return {split: digits(split, permuted=config.permuted) for split in ("train", "validation", "test")}
    order = np.arange(config.pixels)
    if config.permuted:
        order = random_order(config.pixels, _PERMUTATION_SEED)
    splits = load_mnist(config.dir, config.cache)
    train, held = splits["train"], splits["test"]
    cut = len(train.labels) - min(VALIDATION, len(train.labels) // 5)
    parts = {
        "train": Images(train.images[:cut], train.labels[:cut]),
        "validation": Images(train.images[cut:], train.labels[cut:]),
        "test": held,
    }
    return {split: pixel_sequences(part, config.side, order) for split, part in parts.items()}


def rows_of(examples: ArrayExamples, side: int, blanks: int = 0) -> ArrayExamples:
    """Returns images of pixels in order as sequences of rows, `[N, side + blanks, side]`, blank ones at the end."""
    rows = examples.inputs.reshape(len(examples), side, side)
    return ArrayExamples(np.pad(rows, ((0, 0), (0, blanks), (0, 0))), examples.targets)


def nearest_mean(images: Mapping[str, ArrayExamples]) -> float:
    """Returns the accuracy of the class whose mean training image is nearest."""
    train, test = (images[split].inputs.reshape(len(images[split]), -1) for split in ("train", "test"))
    labels = images["train"].targets
    means = np.stack([train[labels == label].mean(axis=0) for label in range(10)])
    scores = test @ means.T - (means**2).sum(axis=1) / 2
    return float(np.mean(scores.argmax(axis=1) == images["test"].targets))


def pixel_sequences(part: Images, side: int, order: np.ndarray) -> ArrayExamples:
    """Returns the pixels in that order, scaled to [0, 1]; a side of 14 takes the means of 2×2 pixels."""
    images = part.images
    if side < SIDE:
        factor = SIDE // side
        blocks = images.reshape(len(images), side, factor, side, factor)
        images = blocks.mean(axis=(2, 4), dtype=np.float32)
    pixels = images.reshape(len(images), side * side)[:, order]
    return ArrayExamples(
        (pixels / np.float32(255)).astype(np.float32)[..., None], part.labels.astype(np.int32)
    )


def load_mnist(folder: Path, cache: Path | None = None) -> dict[str, Images]:
    """Returns the splits train and test of a folder of MNIST's files."""
    from data.tfds_arrays import read_arrays, write_arrays

    files = mnist_files(folder)
    contents = {path: read_bytes(path) for pair in files.values() for path in pair}

    def prepare() -> Mapping[str, list[dict[str, np.ndarray]]]:
        return {split: blocks(read_images(*pair)) for split, pair in files.items()}

    records = prepare_once(
        cache,
        name=folder.resolve().name,
        options={},
        sources={path.name: file.checksum for path, file in contents.items()},
        prepare=prepare,
        write=write_arrays,
        read=read_arrays,
    )
    return {
        split: Images(*(np.concatenate([record[name] for record in found]) for name in Images._fields))
        for split, found in records.items()
    }


def blocks(part: Images) -> list[dict[str, np.ndarray]]:
    """Cuts images into records."""
    starts = range(0, len(part.labels), BLOCK)
    return [{name: array[i : i + BLOCK] for name, array in part._asdict().items()} for i in starts]


def mnist_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Finds the files of images and of labels of each split. Raises ValueError, naming the file, if one is
    missing."""
    found = {}
    for split, start in FILES.items():
        pair = []
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
            name = f"{start}-{kind}"
            paths = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
            if not paths:
                raise ValueError(
                    f"{folder} has no file {name} or {name}.gz: --data.dir must hold MNIST's four files"
                )
            pair.append(paths[0])
        found[split] = (pair[0], pair[1])
    return found


def read_images(images: Path, labels: Path) -> Images:
    """Reads a file of images and one of labels. Raises ValueError if they aren't MNIST's, or of different sizes."""
    found = Images(read_idx(images, _IMAGES, (SIDE, SIDE)), read_idx(labels, _LABELS, ()))
    if len(found.images) != len(found.labels):
        raise ValueError(
            f"{images} has {len(found.images):,} images, but {labels} has {len(found.labels):,} labels: they "
            "must be of one split"
        )
    if found.labels.max(initial=0) > 9:
        place = int(np.argmax(found.labels > 9))
        raise ValueError(f"label {place} of {labels} is {found.labels[place]}: it must lie in 0 … 9")
    return found


def read_idx(path: Path, magic: int, item: tuple[int, ...]) -> np.ndarray:
    """Reads bytes in IDX format, `[N, *item]` uint8: big-endian, a number that names the type and the axes, the
    size of each axis, the values.

    Raises ValueError for a file of another type or of other sizes, or that is too short or too long.
    """
    content = read_bytes(path).content
    head = 4 * (2 + len(item))
    if len(content) < head or struct.unpack(">I", content[:4])[0] != magic:
        raise ValueError(
            f"{path} is no IDX file of bytes with {1 + len(item)} axes: it doesn't begin with {magic:#010x}"
        )
    count, *sizes = struct.unpack(f">{1 + len(item)}I", content[4:head])
    if tuple(sizes) != item:
        raise ValueError(f"{path} has images of {' × '.join(map(str, sizes))} pixels, not of {SIDE} × {SIDE}")
    values = np.frombuffer(content, np.uint8, offset=head)
    if values.size != count * int(np.prod(item)):
        raise ValueError(
            f"{path} is cut off or too long: {count:,} items need {count * int(np.prod(item)):,} bytes after its "
            f"head, and it has {values.size:,}"
        )
    return values.reshape(count, *item)
