"""Parallel text: sentences of one language and their translations."""

from typing import NamedTuple


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str
