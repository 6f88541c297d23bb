"""Random orders that never change."""

import numpy as np


def random_order(size: int, seed: int, stream: int = 0) -> np.ndarray:
    """A uniformly random permutation of 0 … size−1, [size] int64.

    The same for the same numbers on every machine and with every NumPy: the raw words of a bit generator are
    guaranteed to stay (NEP 19), `Generator.permutation` is not. So the words are sorted here, and the order
    of the sort is the permutation. Streams of one seed are independent of each other (Philox: Salmon et al.
    2011).

    Raises ValueError for a seed or stream outside 0 … 2⁶⁴−1.
    """
    if not (0 <= seed < 2**64 and 0 <= stream < 2**64):
        raise ValueError(
            f"seed {seed} and stream {stream} must both lie in 0 … 2**64 - 1: give another seed."
        )
    words = np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(size)
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)
