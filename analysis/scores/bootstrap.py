"""Intervals of a corpus score, from the scores of corpora resampled sentence by sentence."""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from analysis.scores.statistics import Statistics


def bootstrap(
    statistics: Statistics[Any], vectors: Shaped[np.ndarray, "N size"], *, samples: int = 1000, seed: int = 0
) -> Float[np.ndarray, " samples"]:
    """Computes the score of random corpora of N sentences, drawn from those given with replacement: Koehn 2004.

    The quantiles of the scores are an interval (`bootstrap_interval`). The same seed and N draw the same sentences;
    so two systems are compared on the same corpora, and the quantiles of the differences are an interval of the
    difference.

    Raises ValueError if there are no sentences or no samples.
    """
    count = len(vectors)
    if count < 1 or samples < 1:
        raise ValueError(f"there are {count} sentences and {samples} samples: both must be at least 1")
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(count, size=count) for _ in range(samples))
    return np.array([statistics.value(vectors[chosen].sum(axis=0)) for chosen in drawn])


def bootstrap_interval(
    statistics: Statistics[Any],
    vectors: Shaped[np.ndarray, "N size"],
    *,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the ends of the interval that holds so many of the scores of `bootstrap`, as many below as above.

    Raises ValueError for a confidence outside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, but is {confidence}")
    scores = bootstrap(statistics, vectors, samples=samples, seed=seed)
    low, high = np.quantile(scores, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
