"""PPMI and its SVD, beside loops over pairs and NumPy's SVD."""

import numpy as np
import pytest
from scipy import sparse

from analysis.words.ppmi import cooccurrences, ppmi, svd_vectors

IDS = np.array([0, 1, 2, 1, 3, 0, 0, 2, 1, 3, 2])
LENGTHS = np.array([4, 1, 6])


def test_counts() -> None:
    """Each pair of a sentence within the window, both ways, weighted by its distance."""
    wanted, start = np.zeros((4, 4)), 0
    for length in LENGTHS:
        sentence = IDS[start : start + length]
        start += length
        for i in range(length):
            for j in range(length):
                if 0 < abs(i - j) <= 3:
                    wanted[sentence[i], sentence[j]] += (3 - abs(i - j) + 1) / 3
    np.testing.assert_allclose(cooccurrences(IDS, LENGTHS, 4, 3).toarray(), wanted)


@pytest.mark.parametrize(("power", "shift"), [(1.0, 1.0), (0.75, 5.0)])
def test_ppmi(power: float, shift: float) -> None:
    counts = np.array([[0, 6.0, 1], [6, 2, 0], [1, 0, 3]])
    context = counts.sum(0) ** power
    wanted = np.zeros((3, 3))
    for w in range(3):
        for c in range(3):
            if counts[w, c]:
                share = (
                    counts[w, c]
                    / counts.sum()
                    / (counts[w].sum() / counts.sum() * context[c] / context.sum())
                )
                wanted[w, c] = max(np.log(share / shift), 0)
    np.testing.assert_allclose(ppmi(sparse.csr_matrix(counts), power, shift).toarray(), wanted, atol=1e-12)


def test_svd() -> None:
    """U Σ^½ up to signs; their inner products are those of NumPy's leading singular vectors."""
    matrix = np.random.default_rng(0).random((12, 12)) @ np.diag(0.5 ** np.arange(12))
    u, s, _ = np.linalg.svd(matrix)
    found = svd_vectors(sparse.csr_matrix(matrix), 3)
    np.testing.assert_allclose(found @ found.T, (u[:, :3] * s[:3]) @ u[:, :3].T, atol=1e-6)
    assert svd_vectors(sparse.csr_matrix(matrix), 50).shape == (12, 12)
