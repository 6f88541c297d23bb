"""A simple answer to the next sentence: spans that follow one another have more words in common."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from data import MaskedBatch, Sentences

Pairs = tuple[
    Float[np.ndarray, " N"], Bool[np.ndarray, " N"]
]  # the cosine of each pair, and whether it follows


def whole(batch: MaskedBatch) -> Int[np.ndarray, "T B"]:
    """Returns the ids of a batch with the hidden words put back."""
    ids = np.array(batch.inputs)
    places, rows = np.nonzero(batch.chosen)
    ids[np.asarray(batch.places)[places, rows], rows] = np.asarray(batch.answers)[places, rows]
    return ids


def weights(text: Sentences, types: int) -> Float[np.ndarray, " V"]:
    """Returns ln(S / (1 + n)) of each of V types, of which n of the S sentences of a text hold one or more."""
    sentence = np.repeat(np.arange(len(text)), np.diff(text.bounds))
    holding = np.unique(sentence * types + text.ids) % types
    return np.log(len(text) / (1 + np.bincount(holding, minlength=types)))


def cosines(batch: MaskedBatch, weight: Float[np.ndarray, " V"]) -> Pairs:
    """Returns the cosine of both spans' weighted words, each counted once, of every pair."""
    ids, spans = whole(batch), np.asarray(batch.spans)
    found = []
    for row in range(ids.shape[1]):
        valid = np.asarray(batch.mask)[:, row] & (ids[:, row] < len(weight))  # without the marks
        first, second = (np.unique(ids[valid & (spans[:, row] == side), row]) for side in (0, 1))
        shared, *lengths = (
            np.sum(weight[words] ** 2) for words in (np.intersect1d(first, second), first, second)
        )
        found.append(shared / max(np.sqrt(lengths[0] * lengths[1]), 1e-12))
    return np.array(found), np.asarray(batch.follows) > 0


def joined(batches: Sequence[MaskedBatch], weight: Float[np.ndarray, " V"]) -> Pairs:
    """Returns the `cosines` of several batches."""
    values, follows = zip(*(cosines(batch, weight) for batch in batches), strict=True)
    return np.concatenate(values), np.concatenate(follows)


def best_bound(values: Float[np.ndarray, " N"], follows: Bool[np.ndarray, " N"]) -> float:
    """Returns the bound above which a pair is best said to follow."""
    bounds = np.concatenate([[-np.inf], np.unique(values)])
    right = [np.mean((values > bound) == follows) for bound in bounds]
    return float(bounds[int(np.argmax(right))])


def shared_words(
    text: Sentences, types: int, drawn: Sequence[MaskedBatch], tested: Sequence[MaskedBatch]
) -> float:
    """Returns how often a bound on the cosine, the best one on pairs `drawn` from the training text, tells whether
    the second span of the pairs tested follows."""
    weight = weights(text, types)
    bound = best_bound(*joined(drawn, weight))
    values, follows = joined(tested, weight)
    return float(np.mean((values > bound) == follows))
