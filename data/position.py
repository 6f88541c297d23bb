"""The position of a Grain iterator, as text that can be saved with a model."""

import json
from typing import Any, Generic, TypeVar

import numpy as np

Element = TypeVar("Element")


class ResumableIterator(Generic[Element]):
    """Iterates over an endless Grain dataset; its position can be saved.

    The state holds the position of Grain's iterator and `identity`, which must be the same when it is restored, so
    that a run can't continue on other data.
    """

    def __init__(self, dataset: Any, identity: dict[str, Any], options: Any) -> None:
        self._iterator = iter(dataset.to_iter_dataset(options))
        self._identity = identity

    def take(self, count: int) -> list[Element]:
        """Returns the next `count` elements. Raises ValueError for count < 1."""
        if count < 1:
            raise ValueError(f"count is {count}: take at least 1 batch.")
        return [next(self._iterator) for _ in range(count)]

    def get_state(self) -> bytes:
        """Returns the position as JSON."""
        return json.dumps({"grain": self._iterator.get_state(), **self._identity}).encode()

    def set_state(self, state: bytes) -> None:
        """Restores a position. Raises ValueError if it is not a state, or that of other data."""
        try:
            fields = dict(json.loads(state))
            position = fields.pop("grain")
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"state {state!r} is not that of a pipeline: restore another, or start a new run."
            ) from None
        if fields != self._identity:
            raise ValueError(
                f"the state is of batches with {fields}, but these have {self._identity}: "
                "continue with the same data, batch size and seed."
            )
        try:
            self._iterator.set_state(position)
        except (IndexError, KeyError, TypeError):
            raise ValueError(f"{position!r} is not a position of Grain: restore another state.") from None


def random_order(size: int, seed: int, stream: int = 0) -> np.ndarray:
    """Draws a uniformly random permutation of 0 … size−1, [size] int64: the argsort of `random_words`, whose errors
    it raises."""
    return np.argsort(random_words(size, seed, stream), kind="stable").astype(np.int64, copy=False)


def random_integers(below: int, size: int, seed: int, stream: int = 0) -> np.ndarray:
    """Draws `size` uniformly random integers from 0 … below−1, [size] int64, with replacement: `random_words`
    modulo `below`, uniform to within below / 2⁶⁴. Raises ValueError as they do."""
    return (random_words(size, seed, stream) % np.uint64(below)).astype(np.int64)


def random_words(size: int, seed: int, stream: int = 0) -> np.ndarray:
    """Draws uniformly random words of 64 bits, [size] uint64.

    They are the same on every machine and with every NumPy version: the raw words of a bit generator are guaranteed
    to be stable (NEP 19), what a `Generator` makes of them is not. Streams of one seed are independent (Philox:
    Salmon et al. 2011).

    Raises ValueError for a seed or stream outside 0 … 2⁶⁴−1.
    """
    if not (0 <= seed < 2**64 and 0 <= stream < 2**64):
        raise ValueError(
            f"seed {seed} and stream {stream} must both lie in 0 … 2**64 - 1: give another seed."
        )
    return np.random.Philox(key=np.array([seed, stream], np.uint64)).random_raw(size)
