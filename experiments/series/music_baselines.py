"""Music without a net: each pitch by its frequency, or by the step before."""

from collections.abc import Sequence

import numpy as np

PRIOR = 0.5  # is added to each count


def baselines(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns −ln p of the test pieces, `[T, 88]` bool each, summed over pitches, mean over all steps but the
    first: with the frequency of each pitch in training, and with its frequency after it sounded or didn't."""
    before, after = (np.concatenate([part(piece) for piece in train]) for part in (_earlier, _later))
    tested, targets = (np.concatenate([part(piece) for piece in test]) for part in (_earlier, _later))
    marginal = frequency(after, np.ones(len(after), bool)[:, None])
    held = frequency(after, before)
    begun = frequency(after, ~before)
    return {
        "frequency of each pitch": np.array(nats(np.broadcast_to(marginal, targets.shape), targets)),
        "Markov chain of each pitch": np.array(nats(np.where(tested, held, begun), targets)),
    }


def frequency(notes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns how often each pitch sounds at the chosen steps, `[88]`; with `PRIOR` never 0 nor 1."""
    return ((notes & chosen).sum(axis=0) + PRIOR) / (
        np.broadcast_to(chosen, notes.shape).sum(axis=0) + 2 * PRIOR
    )


def nats(p: np.ndarray, notes: np.ndarray) -> float:
    """Computes the mean over steps of −Σ ln p of each pitch."""
    return float(-np.where(notes, np.log(p), np.log1p(-p)).sum(axis=1).mean())


def _earlier(piece: np.ndarray) -> np.ndarray:
    return piece[:-1]


def _later(piece: np.ndarray) -> np.ndarray:
    return piece[1:]
