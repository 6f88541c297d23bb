"""Batches for a masked language model: pairs of spans of sentences, some of whose words are hidden.

Devlin et al. 2019, BERT. The second span follows the first, or stands elsewhere in the same document: from another
document it could be told by its subject alone.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from data.batch import Array, pad_batch
from data.pipeline import read_options, shard_indices
from data.position import ResumableIterator

MASKED, RANDOM = 0.8, 0.1  # shares of the chosen words that become the mask, and another word; the rest stay
MARKS = 3  # ids beyond the vocabulary: of the beginning, of the end of a span, and of a hidden word


class MaskedBatch(NamedTuple):
    """B pairs of spans, time-major: [begin] first [end] second [end], of at most T tokens.

    `places` are the positions of the P words to be told, of which `chosen` are real, and `answers` the words that
    stood there. `follows` is 1 where the second span follows the first in the text.
    """

    inputs: Array  # [T, B] int32, words hidden
    mask: Array  # [T, B] bool
    spans: Array  # [T, B] int32: 0 in the first, 1 in the second
    places: Array  # [P, B] int32
    answers: Array  # [P, B] int32
    chosen: Array  # [P, B] bool
    follows: Array  # [B] int32

    def batch_axes(self) -> Any:
        """Returns, as a batch, the axis of each leaf that is B."""
        axes: Any = dict.fromkeys(self._fields, 1) | {"follows": 0}
        return MaskedBatch(**axes)

    def pad_to(self, size: int) -> "MaskedBatch":
        """Pads the batch to `size` with masked examples."""
        return pad_batch(self, size)


@dataclass(frozen=True, eq=False)
class Sentences:
    """The sentences of a text: `ids [N]` without line ends, and the `bounds [S + 1]` of its S sentences.

    A document is `document` sentences in a row. Words whose id is `unknown` are never chosen to be told."""

    ids: Int[np.ndarray, " N"]
    bounds: Int[np.ndarray, " S1"]
    document: int = 200
    unknown: int | None = None

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def span(self, sentence: int, most: int) -> tuple[np.ndarray, int]:
        """Returns the tokens of sentences from this one on, as many whole ones of its document as fit into `most`
        tokens (a part of the first if it alone doesn't), and the sentence after them."""
        last = min((sentence // self.document + 1) * self.document, len(self))
        start = self.bounds[sentence]
        end = sentence + 1
        while end < last and self.bounds[end + 1] - start <= most:
            end += 1
        return self.ids[start : min(self.bounds[end], start + most)], end


def split_sentences(
    ids: Int[np.ndarray, " N"],
    types: Sequence[str],
    line_end: int | None,
    document: int = 200,
    unknown: int | None = None,
    wrapped: bool = False,
) -> Sentences:
    """Splits a text after each token that ends in `.`, `!` or `?`, and at line ends, which are left out;
    with `wrapped` lines not at their ends.

    Raises ValueError for a text of fewer than four sentences.
    """
    stops = np.array([name.endswith((".", "!", "?")) for name in types])
    if line_end is not None:
        stops[line_end] = not wrapped
    ends = np.flatnonzero(stops[ids]) + 1
    kept = np.ones(len(ids), bool) if line_end is None else ids != line_end
    before = np.concatenate([[0], np.cumsum(kept)])  # tokens kept before each place
    bounds = np.unique(np.concatenate([[0], before[ends], [before[-1]]]))
    if len(bounds) < 5:
        raise ValueError(f"the text has {len(bounds) - 1} sentences: give a longer one, with full stops")
    return Sentences(ids[kept], bounds, document, unknown)


def masked_example(
    text: Sentences, rng: np.random.Generator, length: int, follows: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a pair of spans of at most `length` − 3 tokens together: two arrays of ids.

    The second follows the first, or begins with another sentence of the same document, neither within the first
    span nor right after it; a document that has none is drawn anew.
    """
    half = (length - MARKS) // 2
    while True:
        sentence = int(rng.integers(len(text)))
        first, after = text.span(sentence, half)
        begin = sentence // text.document * text.document
        end = min(begin + text.document, len(text))
        if after >= end:
            continue
        if follows:
            return first, text.span(after, half)[0]
        others = [*range(begin, sentence), *range(after + 1, end)]
        if others:
            return first, text.span(others[int(rng.integers(len(others)))], half)[0]


def masked_batch(
    text: Sentences, types: int, rng: np.random.Generator, *, rows: int, length: int, share: float = 0.15
) -> MaskedBatch:
    """Draws a batch of `rows` pairs, half of which follow one another.

    Of the n known words of a pair ⌊share · n⌉ are chosen, at least one; of the chosen words of the whole batch
    exactly ⌊0.8 K⌉ are replaced by the mark of a hidden word, ⌊0.1 K⌉ by random types, and the others stay.
    """
    begin, end, hidden = types, types + 1, types + 2
    most = max(1, round(share * length))
    follows = rng.permutation(np.arange(rows) % 2)
    inputs, spans = np.zeros((length, rows), np.int32), np.zeros((length, rows), np.int32)
    mask = np.zeros((length, rows), bool)
    places, chosen = np.zeros((most, rows), np.int32), np.zeros((most, rows), bool)
    for row in range(rows):
        first, second = masked_example(text, rng, length, bool(follows[row]))
        ids = np.concatenate([[begin], first, [end], second, [end]])
        words = np.flatnonzero((ids < types) & (ids != text.unknown))
        count = min(most, max(1, round(share * len(words))), len(words))
        inputs[: len(ids), row], mask[: len(ids), row] = ids, True
        spans[len(first) + 2 : len(ids), row] = 1
        places[:count, row] = np.sort(rng.choice(words, count, replace=False))
        chosen[:count, row] = True
    columns = np.broadcast_to(np.arange(rows), places.shape)
    answers = np.where(chosen, inputs[places, columns], 0)
    at, rows_at = places[chosen], columns[chosen]
    order = rng.permutation(len(at))
    hides, draws = round(MASKED * len(at)), round(RANDOM * len(at))
    masked, random = order[:hides], order[hides : hides + draws]
    inputs[at[masked], rows_at[masked]] = hidden
    inputs[at[random], rows_at[random]] = rng.integers(types, size=len(random))
    return MaskedBatch(
        inputs, mask, spans, places, answers.astype(np.int32), chosen, follows.astype(np.int32)
    )


class MaskedBatches:
    """Endless batches, drawn anew: batch i depends on the text, the seed and i alone.

    Process p makes the p-th of P equal shards of each batch. The state is that of `ResumableIterator`."""

    def __init__(
        self,
        text: Sentences,
        types: int,
        *,
        batch_size: int,
        length: int,
        seed: int,
        share: float = 0.15,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        shard = shard_indices(batch_size, process_index, process_count)

        def read(number: int) -> MaskedBatch:
            rng = np.random.default_rng([seed, number])
            whole = masked_batch(text, types, rng, rows=batch_size, length=length, share=share)
            axes = whole.batch_axes()
            return jax.tree.map(lambda leaf, axis: np.take(leaf, shard, axis), whole, axes)

        import grain

        identity = {"tokens": len(text.ids), "batch_size": batch_size, "length": length, "seed": seed}
        rows = grain.MapDataset.range(sys.maxsize).map(read)
        self._batches = ResumableIterator(rows, identity, read_options(0))

    def take(self, count: int) -> MaskedBatch:
        """Returns the next `count` batches, NumPy leaves [count, ...]. Raises ValueError for count < 1."""
        return jax.tree.map(lambda *leaves: np.stack(leaves), *self._batches.take(count))

    def get_state(self) -> bytes:
        return self._batches.get_state()

    def set_state(self, state: bytes) -> None:
        self._batches.set_state(state)
