"""Handwritten digits read pixel by pixel: a real classification task that needs no download."""

import functools

import numpy as np

from data.examples import ArrayExamples
from data.position import random_order

DIGITS_PIXELS = 64
DIGITS_CLASSES = 10
_SPLIT_SEED = 1797
_PERMUTATION_SEED = 64
# Of every twenty images sorted by class: three for validation, three for test, fourteen for training.
_PERIOD = 20
_HELD_OUT = {"validation": (0, 7, 14), "test": (3, 10, 16)}


def digits(split: str, *, permuted: bool = False) -> ArrayExamples:
    """Loads scikit-learn's 1,797 images of digits, 8×8 pixels, one per step: inputs [N, 64, 1], targets [N] in 0
    … 9.

    Pixels are read row by row and scaled exactly from 0 … 16 to [0, 1]. They are not standardised: the scale needs
    no statistics of a split, blank paper stays 0, and pixel-by-pixel MNIST is read the same way. `permuted` reads
    them in one fixed random order, the same for every image and run, so that neighbouring pixels are far apart in
    time (Le, Jaitly & Hinton 2015).

    The split, 1257 / 270 / 270, is fixed, random and stratified to within two images per class. It doesn't separate
    writers (the data don't name them), so the test images are of the same writers as the training images.

    Raises ValueError for an unknown split. Alpaydin & Kaynak 1998 (UCI, optical recognition of handwritten
    digits).
    """
    indices = digits_indices(split)
    images, labels = _load()
    order = digits_permutation() if permuted else np.arange(DIGITS_PIXELS)
    return ArrayExamples(images[indices][:, order, None], labels[indices])


def digits_indices(split: str) -> np.ndarray:
    """Returns the indices of scikit-learn's images in a split, ascending, [N] int64."""
    if split not in ("train", *_HELD_OUT):
        raise ValueError(f"split is {split!r}: it must be one of train, validation, test.")
    _, labels = _load()
    shuffled = random_order(len(labels), _SPLIT_SEED)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    position = np.arange(len(labels)) % _PERIOD
    held_out = {name: np.isin(position, positions) for name, positions in _HELD_OUT.items()}
    chosen = held_out[split] if split in held_out else ~np.logical_or.reduce(list(held_out.values()))
    return np.sort(by_class[chosen])


def digits_permutation() -> np.ndarray:
    """Returns the fixed order of permuted digits, [64]: step t shows pixel `digits_permutation()[t]`."""
    return random_order(DIGITS_PIXELS, _PERMUTATION_SEED)


@functools.cache
def _load() -> tuple[np.ndarray, np.ndarray]:
    """Loads images [1797, 64] float32 in [0, 1] and labels [1797] int32."""
    # Imported here: it takes a second, and other tasks don't need it.
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (np.asarray(images) / 16).astype(np.float32), np.asarray(labels).astype(np.int32)
