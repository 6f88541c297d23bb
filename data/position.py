"""The position of a Grain iterator, as text that can be saved beside a model."""

import json
from typing import Any, Generic, TypeVar

import numpy as np

Element = TypeVar("Element")


class ResumableIterator(Generic[Element]):
    """Goes through a Grain dataset that has no end; its position can be saved.

    The state is the position of Grain's iterator beside `identity`, which must be the same when it is restored,
    lest a run go on with other data.
    """

    def __init__(self, dataset: Any, identity: dict[str, Any], options: Any) -> None:
        self._iterator = iter(dataset.to_iter_dataset(options))
        self._identity = identity

    def take(self, count: int) -> list[Element]:
        """The next `count` elements. Raises ValueError for count < 1."""
        if count < 1:
            raise ValueError(f"count is {count}: take at least 1 batch.")
        return [next(self._iterator) for _ in range(count)]

    def get_state(self) -> bytes:
        """JSON."""
        return json.dumps({"grain": self._iterator.get_state(), **self._identity}).encode()

    def set_state(self, state: bytes) -> None:
        """Raises ValueError where it is no state, or that of other data."""
        try:
            fields = dict(json.loads(state))
            position = fields.pop("grain")
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"state {state!r} is not that of a pipeline: start anew or restore another."
            ) from None
        if fields != self._identity:
            raise ValueError(
                f"the state is of batches with {fields}, these have {self._identity}: "
                "go on with the same data, batch size and seed."
            )
        try:
            self._iterator.set_state(position)
        except (IndexError, KeyError, TypeError):
            raise ValueError(f"{position!r} is not a position of Grain's: restore another state.") from None


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
