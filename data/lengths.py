"""The length of a batch: what its examples are padded to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.examples import ArrayExamples, Example, Source


@dataclass(frozen=True)
class Multiple:
    """Pad to the longest example at hand, rounded up to a multiple of `of`.

    Each T met is compiled for anew, so a coarse multiple trades padded steps for compilations.
    Raises ValueError for a multiple below 1.
    """

    of: int

    def __post_init__(self) -> None:
        if self.of < 1:
            raise ValueError(f"Multiple({self.of}): a length is rounded to a multiple of 1 or more.")


def checked_steps(index: int, example: object, padding: int | Multiple | None) -> int:
    """The number of steps of an example, once it is known to be one that fits."""
    if not isinstance(example, Example):
        raise ValueError(
            f"example {index} of the source is a {type(example).__name__}: make each an Example, "
            "as by grain.MapDataset.source(records).map(make_example)."
        )
    if np.ndim(example.inputs) == 0:
        raise ValueError(f"example {index} of the source has inputs without an axis for time: give [T, ...].")
    steps = len(example.inputs)
    if steps == 0:
        raise ValueError(
            f"example {index} of the source has no steps and would count as padding: leave it out."
        )
    if isinstance(padding, int) and steps > padding:
        raise ValueError(
            f"example {index} of the source has {steps} steps, more than length {padding}: "
            "raise length or cut it."
        )
    return steps


def resolved_length(source: Source, length: int | Multiple | None, process_count: int) -> int | Multiple:
    """Returns the length to pad to, with None resolved. Examples in memory are all looked at, so that none fails
    later."""
    if isinstance(length, Multiple) and process_count > 1:
        raise ValueError(
            f"{length} gives each of {process_count} processes another length: name one number of steps."
        )
    if isinstance(length, int) and length < 1:
        raise ValueError(f"length is {length}: a sequence has at least 1 step.")
    if isinstance(source, ArrayExamples):
        longest = checked_steps(0, source[0], length)
    elif length is None or isinstance(source, list | tuple):
        longest = max(checked_steps(index, source[index], length) for index in range(len(source)))
    else:
        return length
    return longest if length is None else length


def common_length(rows: Sequence[Sequence[Example]], padding: int | Multiple) -> int:
    """The T that several batches of examples are padded to, so that they can be stacked."""
    if isinstance(padding, int):
        return padding
    longest = max(len(example.inputs) for examples in rows for example in examples)
    return -(-longest // padding.of) * padding.of
