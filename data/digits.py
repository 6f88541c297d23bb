"""Handwritten digits read pixel by pixel: a real classification task that every installation holds."""

import functools

import numpy as np

from data.examples import ArrayExamples
from data.position import random_order

DIGITS_PIXELS = 64
DIGITS_CLASSES = 10
_SPLIT_SEED = 1797
_PERMUTATION_SEED = 64
# Of every twenty images of the list sorted by class: three to validate, three to test, fourteen to train.
_CYCLE = 20
_PLACES = {"validation": (0, 7, 14), "test": (3, 10, 16)}


def digits(split: str, *, permuted: bool = False) -> ArrayExamples:
    """scikit-learn's 1,797 images of digits, 8×8 pixels, one a step: inputs [N, 64, 1], targets [N] in 0 … 9.

    Pixels are read row by row and scaled from 0 … 16 to [0, 1], exactly; they are not standardised, since the
    scale needs no statistics of a split, blank paper stays 0, and this is how pixel-by-pixel MNIST is read.
    `permuted` reads them in one fixed random order, the same for every image and run, which takes the
    nearness of neighbours away (Le, Jaitly & Hinton 2015).

    The split, 1257 / 270 / 270, is fixed, random and stratified: each part has its share of every class to
    within two images. Writers are not kept apart (the set does not name them), so the test error is that of
    known hands.

    Raises ValueError for another split. Alpaydin & Kaynak 1998 (UCI, optical recognition of handwritten
    digits).
    """
    indices = digits_indices(split)
    images, labels = _load()
    order = digits_permutation() if permuted else np.arange(DIGITS_PIXELS)
    return ArrayExamples(images[indices][:, order, None], labels[indices])


def digits_indices(split: str) -> np.ndarray:
    """Returns the indices of scikit-learn's images that a split holds, in rising order, [N] int64."""
    if split not in ("train", *_PLACES):
        raise ValueError(f"split is {split!r}: it must be one of train, validation, test.")
    _, labels = _load()
    shuffled = random_order(len(labels), _SPLIT_SEED)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    place = np.arange(len(labels)) % _CYCLE
    held_out = {name: np.isin(place, places) for name, places in _PLACES.items()}
    chosen = held_out[split] if split in held_out else ~np.logical_or.reduce(list(held_out.values()))
    return np.sort(by_class[chosen])


def digits_permutation() -> np.ndarray:
    """The fixed order of permuted digits, [64]: step t shows pixel `digits_permutation()[t]`."""
    return random_order(DIGITS_PIXELS, _PERMUTATION_SEED)


@functools.cache
def _load() -> tuple[np.ndarray, np.ndarray]:
    """Images [1797, 64] float32 in [0, 1] and labels [1797] int32."""
    # Imported here: it takes a second, and who trains on another task needs none of it.
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (np.asarray(images) / 16).astype(np.float32), np.asarray(labels).astype(np.int32)
