"""A text as batches: rows of running text whose state is carried, or lines or random windows, each by itself."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from data import (
    BucketBatches,
    Corpus,
    StreamBatch,
    StreamBatches,
    WindowBatches,
    bucket_batches,
    collate,
    sentences,
)
from data.examples import Example
from experiments.harness.errors import UserError

Reading = Literal["stream", "lines", "windows"]
TrainingText = StreamBatches | BucketBatches | WindowBatches
LEAST = 8  # steps of the first bucket; each of the others is twice as long as the one before


def stream(
    corpus: Corpus, split: str, rows: int, length: int, *, process_index: int = 0, process_count: int = 1
) -> StreamBatches:
    """Cuts a split into rows; of several processes, into this one's share of them.

    If lines have end marks, every token is predicted, the first one from an end mark; else all but the first.
    """
    before = corpus.tokenizer.vocabulary.end_id
    return StreamBatches(
        corpus.split(split),
        batch_size=rows,
        length=length,
        before=before,
        process_index=process_index,
        process_count=process_count,
    )


def lines(corpus: Corpus, split: str) -> list[Example]:
    """Returns a split's lines, each seen after the end of another. Raises ValueError if lines have no end."""
    vocabulary = corpus.tokenizer.vocabulary
    end = vocabulary.end_id
    if end is None and "\n" in vocabulary:
        end = int(vocabulary.encode(["\n"])[0])
    if end is None:
        raise UserError(
            "--reading",
            "lines wants a text in which lines end, and this one has neither end marks nor line breaks: "
            "take --reading stream",
        )
    return sentences(corpus.split(split), end)


def bounds_of(found: Sequence[Example]) -> list[int]:
    """Lengths of buckets that hold all lines: 8, 16, 32, … and that of the longest."""
    longest = max(len(line.inputs) for line in found)
    bounds = [LEAST]
    while bounds[-1] < longest:
        bounds.append(min(2 * bounds[-1], longest))
    return bounds


def check_lines(corpus: Corpus, limit: int) -> None:
    """Raises ValueError for a line of more than `limit` tokens, which would be one step of as many states."""
    for split in corpus.splits:
        sizes = [len(line.inputs) for line in lines(corpus, split)]
        if max(sizes) > limit:
            raise ValueError(
                f"line {int(np.argmax(sizes)) + 1} of the {split} text has {max(sizes)} tokens, more than "
                f"--line-limit {limit}: raise it, or take --reading stream"
            )


def fresh_rows(examples: Sequence[Example], length: int) -> StreamBatch:
    """Lines as rows that all begin anew."""
    batch = collate(examples, length)
    return StreamBatch(batch.inputs, batch.targets, batch.mask, np.ones(len(examples), bool))


def line_batches(
    corpus: Corpus, split: str, rows: int, seed: int, *, process_index: int = 0, process_count: int = 1
) -> BucketBatches:
    """Batches a split's lines, shuffled, of about one length each, padded; or those of one of several processes."""
    found = lines(corpus, split)
    return bucket_batches(
        found,
        batch_size=rows,
        seed=seed,
        bounds=bounds_of(found),
        collate=fresh_rows,
        process_index=process_index,
        process_count=process_count,
    )


def training_batches(
    corpus: Corpus,
    reading: Reading,
    rows: int,
    length: int,
    seed: int,
    *,
    process_index: int = 0,
    process_count: int = 1,
) -> TrainingText:
    """Returns what is trained on; `length` is for streams and windows, `seed` for the order of lines and the places
    of windows.

    Raises ValueError as `StreamBatches`, `lines` and `WindowBatches` do.
    """
    share = {"process_index": process_index, "process_count": process_count}
    match reading:
        case "stream":
            return stream(corpus, "train", rows, length, **share)
        case "lines":
            return line_batches(corpus, "train", rows, seed, **share)
        case "windows":
            before = corpus.tokenizer.vocabulary.end_id
            text = corpus.split("train")
            return WindowBatches(text, batch_size=rows, length=length, seed=seed, before=before, **share)
