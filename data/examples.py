"""Single examples, each with its own length, and their collation into batches."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar, overload, runtime_checkable

import numpy as np

from data.batch import Batch


class Example(NamedTuple):
    """One sequence and its target."""

    inputs: np.ndarray  # [T, ...]: features [T, D], or token ids [T]
    target: np.ndarray | np.generic | int | float  # one number, or [T, ...] with one entry per step


AnyExample = TypeVar("AnyExample", bound=tuple[Any, ...])


def array_digest(arrays: Iterable[np.ndarray]) -> str:
    """Returns sixteen hexadecimal digits of the values, types and shapes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


@runtime_checkable
class Source(Protocol):
    """A random-access collection of examples: a list, `ArrayExamples`, a `grain.MapDataset`.

    `grain.MapDataset.source(records).map(make_example)` converts raw records lazily.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...  # an Example, which is checked on reading


@dataclass(frozen=True, eq=False)
class ArrayExamples(Sequence[Example]):
    """N examples of one length T in memory: a source that gathers a batch in one indexing operation.

    inputs [N, T, ...], targets [N] or [N, T, ...]. An integer index gives an `Example`; an index array or a slice
    gives `ArrayExamples`. Raises ValueError if the sizes of N or T disagree.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def __post_init__(self) -> None:
        if self.inputs.ndim < 2:
            raise ValueError(
                f"inputs have shape {self.inputs.shape}: they need an example and a time axis, [N, T, ...]."
            )
        axes = min(self.targets.ndim, 2)
        if axes == 0 or self.targets.shape[:axes] != self.inputs.shape[:axes]:
            raise ValueError(
                f"targets have shape {self.targets.shape}, inputs {self.inputs.shape}: "
                "targets must be [N] or [N, T, ...] with the N and T of the inputs."
            )

    def __len__(self) -> int:
        return len(self.inputs)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> "ArrayExamples": ...
    def __getitem__(self, index: int | slice | np.ndarray) -> "Example | ArrayExamples":
        if isinstance(index, slice | np.ndarray):
            return ArrayExamples(self.inputs[index], self.targets[index])
        return Example(self.inputs[index], self.targets[index])


def empty_example(example: AnyExample) -> AnyExample:
    """Returns an example without steps, with the shapes of `example`, an `Example` or another named tuple of
    arrays: collated, it is zeros, and fully masked."""
    return type(example)(
        *(part[:0] if part.ndim else np.zeros_like(part) for part in map(np.asarray, example))
    )


def collate(examples: Sequence[Example], length: int) -> Batch:
    """Collates examples into one batch of T = `length` steps, with zeros and a False mask after the end of each.

    Scalar targets give targets [B]; targets with axes have one entry per step and give [T, B, ...]. Floating-point
    numbers and booleans become float32, integers int32. For other targets (a sequence with its own length) write a
    function like this one and pass it to the pipeline.

    Raises ValueError, naming the example by its index, if one is longer than `length`, or its shape is not that of
    the first, or its target doesn't have as many steps as its inputs.
    """
    if not len(examples):
        raise ValueError("there are no examples to collate: give at least one.")
    if isinstance(examples, ArrayExamples) and examples.inputs.shape[1] == length:
        return _transpose(examples)
    inputs = [np.asarray(example.inputs) for example in examples]
    targets = [np.asarray(example.target) for example in examples]
    for index, (steps, target) in enumerate(zip(inputs, targets, strict=True)):
        _check(index, steps, target, inputs[0], targets[0], length)
    mask = mask_of(inputs, length)
    if targets[0].ndim == 0:
        return Batch(pad_sequences(inputs, length, "inputs"), _to_32_bits(np.stack(targets), "targets"), mask)
    return Batch(pad_sequences(inputs, length, "inputs"), pad_sequences(targets, length, "targets"), mask)


def _transpose(examples: ArrayExamples) -> Batch:
    inputs = _to_32_bits(np.ascontiguousarray(examples.inputs.swapaxes(0, 1)), "inputs")
    targets = examples.targets if examples.targets.ndim == 1 else examples.targets.swapaxes(0, 1)
    mask = np.ones(inputs.shape[:2], bool)
    return Batch(inputs, _to_32_bits(np.ascontiguousarray(targets), "targets"), mask)


def pad_sequences(sequences: Sequence[np.ndarray], length: int, what: str) -> np.ndarray:
    """Pads B sequences [T_b, ...] to [T, B, ...] with zeros, T = `length`, in 32 bits; errors name them `what`."""
    shape = (length, len(sequences), *sequences[0].shape[1:])
    padded = np.zeros(shape, np.result_type(*{sequence.dtype for sequence in sequences}))
    for index, sequence in enumerate(sequences):
        padded[: len(sequence), index] = sequence
    return _to_32_bits(padded, what)


def mask_of(sequences: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Returns the mask of sequences padded by `pad_sequences`, [T, B] bool."""
    return np.arange(length)[:, None] < np.array([len(sequence) for sequence in sequences])[None]


def _to_32_bits(values: np.ndarray, what: str) -> np.ndarray:
    if values.dtype.kind in "fb":
        return values.astype(np.float32, copy=False)
    if values.dtype.kind not in "iu":
        raise ValueError(f"{what} are of type {values.dtype}: give numbers or booleans.")
    limits = np.iinfo(np.int32)
    if (
        not np.can_cast(values.dtype, np.int32)
        and values.size
        and not limits.min <= values.min() <= values.max() <= limits.max
    ):
        raise ValueError(f"{what} contain an integer beyond 32 bits: number the tokens or classes from 0.")
    return values.astype(np.int32, copy=False)


def _check(
    index: int,
    steps: np.ndarray,
    target: np.ndarray,
    first: np.ndarray,
    first_target: np.ndarray,
    length: int,
) -> None:
    name = f"example {index} of the batch"
    if steps.ndim == 0:
        raise ValueError(f"{name} has inputs without an axis: they need one for time, [T, ...].")
    if len(steps) > length:
        raise ValueError(
            f"{name} has {len(steps)} steps, more than length {length}: raise length or cut the example."
        )
    if (
        steps.shape[1:] != first.shape[1:]
        or target.shape[1:] != first_target.shape[1:]
        or target.ndim != first_target.ndim
    ):
        raise ValueError(
            f"{name} has inputs {steps.shape} and target {target.shape}, the first {first.shape} and "
            f"{first_target.shape}: all axes but time must agree."
        )
    if target.ndim and len(target) != len(steps):
        raise ValueError(
            f"{name} has a target of {len(target)} steps for inputs of {len(steps)}: give one entry per step, "
            "or your own collate function."
        )


@dataclass(frozen=True)
class PadToMultiple:
    """Pads to the longest example of the batch, rounded up to a multiple of `of`.

    Each different T is compiled, so a coarse multiple trades padded steps for fewer compilations.
    Raises ValueError for a multiple below 1.
    """

    of: int

    def __post_init__(self) -> None:
        if self.of < 1:
            raise ValueError(f"PadToMultiple({self.of}): the multiple must be 1 or more.")


def check_example(index: int, example: object, padding: int | PadToMultiple | None) -> int:
    """Checks that an example is valid and fits, and returns its number of steps."""
    if not isinstance(example, Example):
        raise ValueError(
            f"example {index} of the source is a {type(example).__name__}: convert each to an Example, "
            "for instance by grain.MapDataset.source(records).map(make_example)."
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


def resolve_length(
    source: Source, length: int | PadToMultiple | None, process_count: int
) -> int | PadToMultiple:
    """Returns the length to pad to, with None resolved. Examples in memory are all checked, so that none fails
    later."""
    if isinstance(length, PadToMultiple) and process_count > 1:
        raise ValueError(
            f"{length} gives each of {process_count} processes a different length: give a number of steps."
        )
    if isinstance(length, int) and length < 1:
        raise ValueError(f"length is {length}: a sequence has at least 1 step.")
    if isinstance(source, ArrayExamples):
        longest = check_example(0, source[0], length)
    elif length is None or isinstance(source, list | tuple):
        longest = max(check_example(index, source[index], length) for index in range(len(source)))
    else:
        return length
    return longest if length is None else length


def common_length(rows: Sequence[Sequence[Example]], padding: int | PadToMultiple) -> int:
    """Returns the T to which several batches of examples are padded, so that they can be stacked."""
    if isinstance(padding, int):
        return padding
    longest = max(len(example.inputs) for examples in rows for example in examples)
    return -(-longest // padding.of) * padding.of
