"""MNIST's files as the tests write them, byte by byte; the real ones where they are there."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from data import digits
from data.images import ImagesConfig, load_images

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def write(folder: Path, train: int = 10, test: int = 3) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Writes the four files, two of them gzipped, and returns what they hold."""
    rng, found = np.random.default_rng(0), {}
    folder.mkdir(exist_ok=True)
    for split, count, names in (("train", train, NAMES[:2]), ("test", test, NAMES[2:])):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, 10, count).astype(np.uint8)
        (folder / names[0]).write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes())
        packed = gzip.compress(struct.pack(">2I", 0x801, count) + labels.tobytes())
        (folder / f"{names[1]}.gz").write_bytes(packed)
        found[split] = (images, labels)
    return found


def test_pixels_are_those_of_the_files(tmp_path: Path) -> None:
    """In order, permuted and averaged; the second time from the cache."""
    written = write(tmp_path / "files")
    images, labels = written["train"]
    config = ImagesConfig(tmp_path / "files", cache=tmp_path / "kept")
    load_images(config)  # prepares them
    found = load_images(config)
    assert {split: len(part) for split, part in found.items()} == {"train": 8, "validation": 2, "test": 3}
    inputs = np.concatenate([found["train"].inputs, found["validation"].inputs])
    np.testing.assert_array_equal(np.rint(inputs[..., 0] * 255), images.reshape(10, 784))
    np.testing.assert_array_equal(found["train"].targets, labels[:8])
    np.testing.assert_array_equal(found["test"].targets, written["test"][1])
    permuted = load_images(ImagesConfig(tmp_path / "files", permuted=True, cache=tmp_path / "kept"))
    order = np.argsort(permuted["train"].inputs[0, :, 0], kind="stable")
    np.testing.assert_array_equal(
        permuted["train"].inputs[0, order, 0], np.sort(found["train"].inputs[0, :, 0])
    )
    assert not np.array_equal(permuted["train"].inputs, found["train"].inputs)
    small = load_images(ImagesConfig(tmp_path / "files", side=14, cache=tmp_path / "kept"))["test"].inputs
    first = written["test"][0][0].astype(np.float64)
    means = [first[i : i + 2, j : j + 2].mean() / 255 for i in range(0, 28, 2) for j in range(0, 28, 2)]
    np.testing.assert_allclose(small[0, :, 0], means, rtol=1e-5)


def test_digits_stand_in_for_them() -> None:
    for permuted in (False, True):
        found = load_images(ImagesConfig(permuted=permuted))
        np.testing.assert_array_equal(found["test"].inputs, digits("test", permuted=permuted).inputs)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (NAMES[0], None, "has no file train-images-idx3-ubyte"),
        (NAMES[0], struct.pack(">4I", 0x801, 10, 28, 28), "no IDX file of bytes with 3 axes"),
        (NAMES[0], struct.pack(">4I", 0x803, 10, 28, 27), "images of 28 × 27 pixels"),
        (
            NAMES[0],
            struct.pack(">4I", 0x803, 10, 28, 28) + b"abc",
            "is cut off or too long: 10 items need 7,840",
        ),
        (NAMES[0], struct.pack(">4I", 0x803, 1, 28, 28) + bytes(784), "has 1 images, but "),
        (
            f"{NAMES[1]}.gz",
            struct.pack(">2I", 0x801, 10) + bytes([11] * 10),
            "idx1-ubyte.gz is 11",
        ),
        (f"{NAMES[1]}.gz", b"\x1f\x8babc", "is damaged: it begins as a gzip file"),
    ],
)
def test_files_that_are_not_mnists(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    write(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        load_images(ImagesConfig(tmp_path, cache=tmp_path / "kept"))


def test_a_side_without_files() -> None:
    with pytest.raises(ValueError, match=r"--data\.side 14 is for MNIST's images"):
        load_images(ImagesConfig(side=14))


@pytest.mark.slow
def test_mnist(tmp_path: Path) -> None:
    """The counts of each class are those that LeCun's page states, and a known first image is a five."""
    if not MNIST.is_dir():
        pytest.skip("needs the files of MNIST in shared/data/mnist beside the checkout")
    found = load_images(ImagesConfig(MNIST, side=14, cache=tmp_path / "kept"))
    assert {split: len(part) for split, part in found.items()} == {
        "train": 55_000,
        "validation": 5_000,
        "test": 10_000,
    }
    counts = np.bincount(np.concatenate([found["train"].targets, found["validation"].targets]))
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(found["test"].targets).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
    assert found["train"].targets[0] == 5
    assert abs(found["train"].inputs.mean() - 0.1307) < 1e-3  # the mean that everyone standardises by
