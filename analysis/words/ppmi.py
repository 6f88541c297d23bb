"""Word vectors without training: positive pointwise mutual information of words and contexts, and its SVD."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse


def cooccurrences(
    ids: Int[np.ndarray, "T"], lengths: Int[np.ndarray, "S"], size: int, window: int
) -> sparse.csr_matrix:
    """Counts how often each word is in the context of another, `[V, V]`, within sentences.

    A pair at distance δ ≤ H = `window` counts (H − δ + 1) / H, its probability where the reach of a window is drawn
    from 1 … H.
    """
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    total = sparse.csr_matrix((size, size))
    for distance in range(1, window + 1):
        inside = sentence[distance:] == sentence[:-distance]
        pair = ids[:-distance][inside], ids[distance:][inside]
        weight = np.full(len(pair[0]), (window - distance + 1) / window)
        total = total + sparse.csr_matrix((weight, pair), shape=(size, size))
    return total + total.T


def ppmi(counts: sparse.csr_matrix, power: float = 0.75, shift: float = 1.0) -> sparse.csr_matrix:
    """Computes max(log p(w, c) / (p(w) p'(c)) − log `shift`, 0), where p'(c) are the counts of contexts to the
    `power`, normalised (Levy, Goldberg & Dagan 2015)."""
    coo = counts.tocoo()
    words, contexts = np.asarray(counts.sum(1)).ravel(), np.asarray(counts.sum(0)).ravel() ** power
    share = coo.data / words[coo.row] / (contexts[coo.col] / contexts.sum())
    values = np.maximum(np.log(share) - np.log(shift), 0)
    found = sparse.csr_matrix((values, (coo.row, coo.col)), shape=coo.shape)
    found.eliminate_zeros()
    return found


def svd_vectors(
    matrix: sparse.csr_matrix, size: int, *, exponent: float = 0.5, seed: int = 0
) -> Float[np.ndarray, "V D"]:
    """Computes U Σ^`exponent` of the leading `size` singular values, by a randomised method (Halko, Martinsson &
    Tropp 2011); fewer if the matrix has not so many rows."""
    from sklearn.utils.extmath import randomized_svd

    shape: Any = matrix.shape
    decompose: Any = randomized_svd
    left, values, _ = decompose(matrix, min(size, *shape), n_iter=4, random_state=seed)
    return left * values**exponent
