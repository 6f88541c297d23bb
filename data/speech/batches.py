"""Batches of utterances, and the labels that a net should write. Axes: T steps, N labels, B batch."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from data.batch import Array, pad_batch
from data.buckets import BucketBatches
from data.examples import mask_of, pad_sequences
from data.pipeline import read_options, shard_indices
from data.position import ResumableIterator
from data.speech.features import FrontEnd
from data.speech.joined import JoinedUtterances, Utterance

Ids = Int32[np.ndarray, "_"]


class SpeechExample(NamedTuple):
    """An utterance as numbers. `spread` has at every step the label that is said there, if the labels of a word are
    spread evenly over its recording."""

    inputs: Float32[np.ndarray, "T D"]
    labels: Int32[np.ndarray, " N"]
    spread: Int32[np.ndarray, " T"]


class SpeechBatch(NamedTuple):
    """B utterances, time-major; where a mask is False there are zeros, and ignored."""

    inputs: Array  # [T, B, D] float32
    mask: Array  # [T, B] bool
    labels: Array  # [N, B] int32
    label_mask: Array  # [N, B] bool
    spread: Array  # [T, B] int32

    def batch_axes(self) -> Any:
        """Returns, as a batch, the axis of each leaf that is B."""
        axes: Any = dict.fromkeys(self._fields, 1)
        return SpeechBatch(**axes)

    def pad_to(self, size: int) -> "SpeechBatch":
        """Pads the batch to `size` with masked examples."""
        return pad_batch(self, size)


@dataclass(frozen=True, eq=False)
class SpeechEncoder:
    """Makes examples of utterances: `encode(text)` gives the ids of the labels of a text."""

    front: FrontEnd
    encode: Callable[[str], Ids]

    def __call__(self, utterance: Utterance) -> SpeechExample:
        inputs = self.front(utterance.samples)
        # Of the parts, lest an id of one depends on another: the ids of a text are those of its parts.
        ids = [self.encode(part.text) for part in utterance.parts]
        return SpeechExample(inputs, np.concatenate(ids), self.spread(utterance, ids, len(inputs)))

    def spread(self, utterance: Utterance, ids: Sequence[Ids], steps: int) -> Int32[np.ndarray, " T"]:
        """Spreads the labels of each part evenly over its samples; a part without any is of the part before."""
        config = self.front.config
        found: list[tuple[float, int]] = []  # where each label begins, in steps
        for part, own in zip(utterance.parts, ids, strict=True):
            each = (part.end - part.start) / max(len(own), 1)
            found += [(part.start + place * each, int(label)) for place, label in enumerate(own)]
        begins, labels = np.array([start for start, _ in found]), np.array([label for _, label in found])
        middle = (np.arange(steps) + 0.5) * (config.stack * config.hop_samples)
        places = np.searchsorted(begins, middle, side="right") - 1
        return labels[np.maximum(places, 0)].astype(np.int32)


def collate_speech(examples: Sequence[SpeechExample], bound: tuple[int, int]) -> SpeechBatch:
    """Collates examples into one batch of T, N = `bound`. Raises ValueError for a longer one, and for none."""
    if not examples:
        raise ValueError("there are no utterances to collate: give at least one.")
    steps, most = bound
    for example in examples:
        if len(example.inputs) > steps or len(example.labels) > most:
            raise ValueError(
                f"an utterance has {len(example.inputs)} steps and {len(example.labels)} labels, more than "
                f"{bound}: raise the bound."
            )
    inputs, labels, spread = (list(part) for part in zip(*examples, strict=True))
    return SpeechBatch(
        pad_sequences(inputs, steps, "inputs"),
        mask_of(inputs, steps),
        pad_sequences(labels, most, "labels"),
        mask_of(labels, most),
        pad_sequences(spread, steps, "labels"),
    )


def speech_lengths(example: SpeechExample) -> tuple[int, int]:
    """Returns the numbers of steps and of labels."""
    return len(example.inputs), len(example.labels)


def round_up(number: int, multiple: int) -> int:
    """Returns the next multiple."""
    return -(-number // multiple) * multiple


def joined_batches(
    source: JoinedUtterances,
    encoder: SpeechEncoder,
    *,
    batch_size: int,
    multiple: tuple[int, int],
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 0,
) -> BucketBatches:
    """Returns endless batches of utterances joined on the fly: batch i has those of the indices from i · B on, and
    is padded to multiples of so many steps and labels.

    Each shape is compiled by itself. With several processes each makes its shard of the same batch, of the same
    shape. Raises ValueError as `shard_indices`.
    """
    shard = shard_indices(batch_size, process_index, process_count)

    def read(batch: int) -> tuple[tuple[int, int], list[SpeechExample]]:
        first = batch * batch_size
        steps, labels = 1, 1
        for index in range(first, first + batch_size):
            steps = max(steps, encoder.front.config.steps(source.samples(index)))
            labels = max(labels, sum(len(encoder.encode(text)) for text in source.texts(index)))
        bound = (round_up(steps, multiple[0]), round_up(labels, multiple[1]))
        return bound, [encoder(source[first + int(place)]) for place in shard]

    import grain

    rows = grain.MapDataset.range(sys.maxsize).map(read)
    identity = {"words": len(source.words), "batch_size": batch_size, "seed": source.seed}
    return BucketBatches(ResumableIterator(rows, identity, read_options(threads)), collate_speech, 0)
