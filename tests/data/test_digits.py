"""The digits are scikit-learn's own images, split once and for all."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from data import DIGITS_CLASSES, digits, digits_indices, digits_permutation

SIZES = {"train": 1257, "validation": 270, "test": 270}
IMAGES, LABELS = (np.asarray(array) for array in load_digits(return_X_y=True))


def test_the_splits_hold_every_image_once() -> None:
    indices = [digits_indices(split) for split in ("train", "validation", "test")]
    assert [len(part) for part in indices] == list(SIZES.values())
    assert sorted(np.concatenate(indices).tolist()) == list(range(1797))


@pytest.mark.parametrize("split", SIZES)
def test_every_class_has_its_share(split) -> None:
    counts = np.bincount(digits(split).targets, minlength=DIGITS_CLASSES)
    share = np.bincount(LABELS) * SIZES[split] / 1797
    assert np.all(np.abs(counts - share) <= 2)


@pytest.mark.parametrize("split", SIZES)
def test_images_are_sklearns_pixel_by_pixel(split) -> None:
    examples, indices = digits(split), digits_indices(split)
    assert examples.inputs.dtype == np.float32
    assert examples.targets.dtype == np.int32
    assert examples.inputs.shape == (SIZES[split], 64, 1)
    np.testing.assert_array_equal(examples.inputs[..., 0] * 16, IMAGES[indices])
    np.testing.assert_array_equal(examples.targets, LABELS[indices])
    assert examples.inputs.min() == 0
    assert examples.inputs.max() == 1


def test_permuted_digits_are_the_same_pixels_in_one_other_order() -> None:
    plain, permuted, order = digits("test"), digits("test", permuted=True), digits_permutation()
    assert sorted(order.tolist()) == list(range(64))
    for step in range(64):
        np.testing.assert_array_equal(permuted.inputs[:, step], plain.inputs[:, order[step]])
    np.testing.assert_array_equal(permuted.targets, plain.targets)
    # No longer a raster scan: hardly any two steps that follow each other are neighbours in a row.
    assert np.sum(np.abs(np.diff(order)) == 1) < 8


def test_split_and_order_never_change() -> None:
    parts = [digits_indices(split) for split in ("train", "validation", "test")]
    text = ";".join(",".join(map(str, part.tolist())) for part in [*parts, digits_permutation()])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f4b032a84d3193eb"


def test_what_one_caller_writes_no_other_sees() -> None:
    digits("test").inputs[:] = -1
    assert digits("test").inputs.min() == 0


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="split is 'dev'"):
        digits("dev")
