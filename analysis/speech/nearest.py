"""Nearest segments: how often the segment that is nearest to another says the same."""

import numpy as np
from jaxtyping import Bool, Float


def cosine_distances(vectors: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N N"]:
    """Computes 1 − cosine of every two vectors; a vector of zeros has the distance 1 from all."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    return 1 - unit @ unit.T


def nearest_others(distances: Float[np.ndarray, "N N"], allowed: Bool[np.ndarray, "N N"]) -> np.ndarray:
    """Returns the place of the nearest allowed segment of each, itself left out."""
    among = allowed & ~np.eye(len(distances), dtype=bool)
    return np.where(among, distances, np.inf).argmin(axis=1)


def precision_at_1(
    distances: Float[np.ndarray, "N N"], said: np.ndarray, allowed: Bool[np.ndarray, "N N"]
) -> float:
    """Computes the share of segments whose nearest allowed one says the same, of those for which an allowed one
    does; NaN if there is none. `said [N]` is what the segments say."""
    matches = matching(said, allowed)
    sought = matches.any(axis=1)
    right = said[nearest_others(distances, allowed)] == said
    return float(np.mean(right[sought])) if sought.any() else float("nan")


def chance_at_1(said: np.ndarray, allowed: Bool[np.ndarray, "N N"]) -> float:
    """Computes the precision at 1 of an allowed segment drawn at random."""
    matches, others = matching(said, allowed), allowed & ~np.eye(len(said), dtype=bool)
    sought = matches.any(axis=1)
    shares = matches.sum(axis=1)[sought] / others.sum(axis=1)[sought]
    return float(np.mean(shares)) if sought.any() else float("nan")


def matching(said: np.ndarray, allowed: Bool[np.ndarray, "N N"]) -> Bool[np.ndarray, "N N"]:
    """Tells of every two segments whether the other is allowed, says the same, and isn't the first itself."""
    return allowed & (said[:, None] == said[None]) & ~np.eye(len(said), dtype=bool)
