"""Dynamic time warping: how far two stretches of speech are apart when time may be stretched."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

TOGETHER = 16_000_000  # distances of frames in memory at once
Frames = Sequence[np.ndarray]  # each [T, D], with a T of its own


def warped_distances(first: Frames, second: Frames) -> Float[np.ndarray, "N M"]:
    """Computes dynamic time warping between every two of N and M sequences (Sakoe & Chiba 1978, symmetric):

        g_ij = min(g_{i−1,j} + d_ij,  g_{i,j−1} + d_ij,  g_{i−1,j−1} + 2 d_ij),   g_11 = 2 d_11
        distance = g_IJ / (I + J)

    with d_ij the Euclidean distance of frame i of one and frame j of the other: the mean distance along the best of
    all alignments that keep the order. Raises ValueError for no sequence, one without frames, and frames of two
    sizes."""
    if not first or not second:
        raise ValueError("there is no sequence to compare: give at least one on either side")
    if len({one.shape[1:] for one in (*first, *second)}) > 1 or not all(map(len, (*first, *second))):
        raise ValueError("each sequence needs a frame, and all frames must be of one size")
    others, ends = padded(second)
    rows = max(1, TOGETHER // (max(map(len, first)) * others.shape[0] * len(second)))
    parts = [padded(first[start : start + rows]) for start in range(0, len(first), rows)]
    return np.concatenate([warped(ones, lengths, others, ends) for ones, lengths in parts])


def padded(sequences: Frames) -> tuple[Float[np.ndarray, "T N D"], np.ndarray]:
    """Returns sequences side by side, padded with zeros, and their lengths."""
    lengths = np.array([len(one) for one in sequences])
    rows = [np.pad(one, ((0, lengths.max() - len(one)), (0, 0))) for one in sequences]
    return np.stack(rows, axis=1).astype(np.float64), lengths


def warped(
    ones: Float[np.ndarray, "I N D"],
    lengths: np.ndarray,
    others: Float[np.ndarray, "J M D"],
    ends: np.ndarray,
) -> Float[np.ndarray, "N M"]:
    """Warps N padded sequences against M, all pairs at once."""
    (steps, count, _), (longest, number, _) = ones.shape, others.shape
    found = np.full((count, number), np.inf)
    before = np.full((longest + 1, count, number), np.inf)
    before[0] = 0
    squares = (others**2).sum(-1)
    for i in range(steps):
        row = np.full((longest + 1, count, number), np.inf)
        products = np.einsum("nd,jmd->jnm", ones[i], others, optimize=True)
        d = np.sqrt(np.maximum((ones[i] ** 2).sum(-1)[None, :, None] + squares[:, None] - 2 * products, 0))
        for j in range(longest):
            row[j + 1] = np.minimum(np.minimum(before[j + 1], row[j]) + d[j], before[j] + 2 * d[j])
        ended = lengths == i + 1
        found[ended] = row[ends, :, np.arange(number)].T[ended] / (i + 1 + ends)
        before = row
    return found
