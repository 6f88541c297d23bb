"""Documents: some sentences in a row, as grids of words and sentences. Axes: W words, S sentences."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from data.batch import Array, pad_batch
from data.buckets import BucketBatches, SortedBatches, bucket_batches, length_bounds, sorted_batches


class DocumentExample(NamedTuple):
    """The ids of a document's sentences, one after the other, each with its end mark last, and their lengths. The
    last sentence is empty: an end mark alone."""

    ids: Int32[np.ndarray, "_"]
    lengths: Int32[np.ndarray, "_"]


class DocumentBatch(NamedTuple):
    """B documents; where the mask is False the ids are 0 and ignored."""

    inputs: Array  # [W, S, B] int32
    mask: Array  # [W, S, B] bool

    def batch_axes(self) -> Any:
        """Returns, as a batch, the axis of each leaf that is B."""
        return DocumentBatch(2, 2)  # type: ignore[arg-type]

    def pad_to(self, size: int) -> "DocumentBatch":
        """Pads the batch to `size` with masked examples."""
        return pad_batch(self, size)


def cut_documents(
    chains: Sequence[Sequence[str]], least: int, most: int, seed: int = 0
) -> list[tuple[str, ...]]:
    """Cuts chains of sentences into documents of `least` to `most` sentences, drawn evenly; fewer at the end of a
    chain are left out."""
    rng = np.random.default_rng(seed)
    documents = []
    for chain in chains:
        start = 0
        while len(chain) - start >= least:
            count = int(rng.integers(least, min(most, len(chain) - start) + 1))
            documents.append(tuple(chain[start : start + count]))
            start += count
    return documents


def document_example(sentences: Sequence[np.ndarray], end: int) -> DocumentExample:
    """Joins the ids of sentences, each with its end mark last, and adds the empty sentence."""
    rows = [*sentences, np.array([end], np.int32)]
    return DocumentExample(np.concatenate(rows), np.array([len(row) for row in rows], np.int32))


def collate_documents(examples: Sequence[DocumentExample], bound: tuple[int, int]) -> DocumentBatch:
    """Collates documents into one batch of W, S = `bound`.

    Raises ValueError for a document of more or longer sentences."""
    words, sentences = bound
    inputs = np.zeros((words, sentences, len(examples)), np.int32)
    mask = np.zeros(inputs.shape, bool)
    for place, (ids, lengths) in enumerate(examples):
        if len(lengths) > sentences or lengths.max(initial=0) > words:
            raise ValueError(
                f"document {place} of the batch has {len(lengths)} sentences of up to {lengths.max()} pieces, more "
                f"than {sentences} of {words}: raise the bound or leave it out"
            )
        for sentence, row in enumerate(np.split(ids, np.cumsum(lengths)[:-1])):
            inputs[: len(row), sentence, place] = row
            mask[: len(row), sentence, place] = True
    return DocumentBatch(inputs, mask)


def document_lengths(example: DocumentExample) -> tuple[int, int]:
    """Returns the pieces of the longest sentence and the number of sentences, the empty one included."""
    return int(example.lengths.max()), len(example.lengths)


def document_bounds(*splits: Sequence[DocumentExample]) -> list[tuple[int, int]]:
    """Returns bounds of buckets into which all documents fit: by their longest sentence."""
    lengths = np.array([document_lengths(example) for split in splits for example in split])
    words, sentences = lengths.max(axis=0).tolist()
    return [(bound, sentences) for bound in length_bounds(words)]


def document_batches(
    examples: Sequence[DocumentExample],
    *,
    batch_size: int,
    seed: int,
    bounds: Sequence[tuple[int, int]],
    process_index: int = 0,
    process_count: int = 1,
) -> BucketBatches:
    """Returns endless shuffled `DocumentBatch`es: see `bucket_batches`."""
    return bucket_batches(
        examples,
        batch_size=batch_size,
        seed=seed,
        bounds=bounds,
        lengths=document_lengths,
        collate=collate_documents,
        process_index=process_index,
        process_count=process_count,
    )


def held_out_documents(
    examples: Sequence[DocumentExample], *, batch_size: int, bounds: Sequence[tuple[int, int]]
) -> SortedBatches:
    """Returns `DocumentBatch`es of every document once: see `sorted_batches`."""
    return sorted_batches(
        examples, batch_size=batch_size, bounds=bounds, lengths=document_lengths, collate=collate_documents
    )
