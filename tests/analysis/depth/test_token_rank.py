"""The rank of tokens against other formulas, and in cases that are known exactly."""

import jax
import numpy as np

from analysis.depth.token_rank import effective_rank, rank_one_residual
from models import SelfAttention, unroll


def test_against_other_formulas() -> None:
    """The nearest matrix with equal rows by least squares, and singular values as roots of eigenvalues."""
    vectors = np.random.default_rng(0).normal(size=(3, 7, 5)) + 1
    found = zip(vectors, rank_one_residual(vectors), effective_rank(vectors), strict=True)
    for own, residual, rank in found:
        _, squares, *_ = np.linalg.lstsq(np.ones((7, 1)), own)
        np.testing.assert_allclose(residual, np.sqrt(squares.sum() / np.sum(own**2)))
        shares = np.sqrt(np.linalg.eigvalsh(own.T @ own))
        shares /= shares.sum()
        np.testing.assert_allclose(rank, np.prod(shares**-shares))


def test_known_ranks() -> None:
    equal = np.tile([1.0, -2, 3], (6, 1))
    np.testing.assert_allclose([rank_one_residual(equal), effective_rank(equal)], [0, 1], atol=1e-6)
    opposite = np.array([[3.0, 4], [-3, -4]])  # of rank one, but not equal
    np.testing.assert_allclose([rank_one_residual(opposite), effective_rank(opposite)], 1, atol=1e-6)
    np.testing.assert_allclose(effective_rank(np.eye(4)), 4)
    assert np.isnan([rank_one_residual(np.zeros((3, 2))), effective_rank(np.zeros((3, 2)))]).all()


def test_uniform_attention_makes_all_tokens_equal() -> None:
    """Attention whose scores are all zero averages: one layer leaves rank one; with its input added it doesn't."""
    layer = SelfAttention(8, heads=2, context=6, causal=False)
    xs = jax.random.normal(jax.random.key(1), (6, 1, 8))
    params = layer.init(jax.random.key(0), 8)
    params["input"] = jax.tree.map(lambda leaf: leaf.at[..., :16].set(0), params["input"])  # queries and keys
    ys = np.asarray(unroll(layer, params, xs)[1])[:, 0]
    np.testing.assert_allclose(rank_one_residual(ys), 0, atol=1e-6)
    assert rank_one_residual(np.asarray(xs)[:, 0] + ys) > 0.5
