"""The rank of the vectors of a sequence: how far its tokens differ from one another, layer by layer."""

import numpy as np
from jaxtyping import Float


def rank_one_residual(vectors: Float[np.ndarray, "*batch T H"]) -> Float[np.ndarray, "*batch"]:
    """Computes ‖X − 1 x̄ᵀ‖_F / ‖X‖_F of the T tokens' vectors, the rows of X, with x̄ their mean.

    1 x̄ᵀ is the nearest matrix with equal rows: 0 where all tokens have one vector, at most 1. Without residual
    connections attention drives it to 0 doubly exponentially in depth (Dong, Cordonnier & Loukas 2021, in other
    norms). NaN where all vectors are zero."""
    apart = vectors - vectors.mean(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.linalg.norm(apart, axis=(-2, -1)) / np.linalg.norm(vectors, axis=(-2, -1)))


def effective_rank(vectors: Float[np.ndarray, "*batch T H"]) -> Float[np.ndarray, "*batch"]:
    """Computes exp(−Σ p_i ln p_i), p_i = σ_i / Σ_j σ_j, of the singular values σ of the T tokens' vectors: from 1,
    all vectors multiples of one, to min(T, H). Roy & Vetterli 2007. NaN where all vectors are zero."""
    values = np.linalg.svd(vectors, compute_uv=False)
    with np.errstate(invalid="ignore"):
        shares = values / values.sum(axis=-1, keepdims=True)
    return np.asarray(np.exp(-np.sum(shares * np.log(np.where(shares > 0, shares, 1)), axis=-1)))
