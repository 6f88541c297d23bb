"""Windows of a running text as batches for word vectors: subsampled words, their contexts, and noise words."""

import json
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int32

from data.batch import Array, pad_batch
from data.pipeline import shard_indices
from data.position import random_words
from data.words.text import WordText

BLOCK = 32  # centres whose contexts are gathered together
_NOISE = 2**32  # first of the random streams of noise; those below it are of epochs


class WindowBatch(NamedTuple):
    """M small batches, which are learned from one after another, each of G blocks of b centres.

    The centre i of a block is its word H + i; its context is the `left` words before and the `right` words after
    it. A small batch of zeros is padding, as its rate is 0 and it has no contexts.
    """

    words: Array  # [M, G, b + 2H] int32
    left: Array  # [M, G, b] int8
    right: Array  # [M, G, b] int8
    noise: Array  # [M, R, K] int32: K words drawn from the noise distribution for every G b / R centres
    rate: Array  # [M] float32: the learning rate

    def batch_axes(self) -> Any:
        """Returns, as a batch, the axis of each leaf that is M."""
        axes: Any = (0, 0, 0, 0, 0)
        return WindowBatch(*axes)

    def pad_to(self, size: int) -> "WindowBatch":
        """Pads the batch with small batches that teach nothing."""
        return pad_batch(self, size)


class WordWindows:
    """Batches of the windows of a text, endlessly, epoch after epoch.

    In each epoch a word of frequency f is kept with probability √(t/f) + t/f, t = `sample`, and the reach of each
    centre's context is drawn from 1 … `window` among the words kept, within its sentence (Mikolov et al. 2013b, as
    in word2vec.c and gensim). Noise is drawn from the frequencies to the `power`. A batch is a function of the
    text, the seed and its number alone; process p makes the p-th of P equal shards of its M small batches.

    Args:
        text: the text.
        window: largest reach H.
        sample: t; 0 keeps all words.
        power: of the frequencies in the noise distribution.
        centres: in a small batch, a multiple of `shared`.
        shared: centres that share noise words, a multiple of 32.
        noise: words drawn for them, K.
        small_batches: M.
        seed: of all draws.
        rate: the first learning rate.
        last_rate: that after `steps` batches, reached linearly.
        steps: batches of the run.

    Raises ValueError for numbers that don't divide, or a text that is too short.
    """

    def __init__(
        self,
        text: WordText,
        *,
        window: int,
        sample: float,
        power: float,
        centres: int,
        shared: int,
        noise: int,
        small_batches: int,
        seed: int,
        rate: float = 0.025,
        last_rate: float = 0.0001,
        steps: int = 1,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        if shared % BLOCK or centres % shared:
            raise ValueError(
                f"shared is {shared} and centres {centres}: take multiples of {BLOCK} and of shared"
            )
        self._text, self._window, self._power = text, window, power
        self._centres, self._shared, self._count = centres, shared, noise
        self._seed, self._rates, self._steps = seed, (rate, last_rate), steps
        self._rows, self._small = shard_indices(small_batches, process_index, process_count), small_batches
        self._keep = kept_share(text, sample)
        self._starts = [0]  # of epochs, in kept words
        self._epoch: tuple[int, tuple[np.ndarray, ...]] | None = None
        self._place = 0

    @staticmethod
    def kept_words(text: WordText, sample: float) -> float:
        """Returns the expected number of words that are kept in an epoch."""
        return float(kept_share(text, sample) @ np.array(text.vocabulary.counts))

    @cached_property
    def noise_probability(self) -> Float[np.ndarray, "V"]:
        """The noise distribution q [V]."""
        powers = np.array(self._text.vocabulary.counts, np.float64) ** self._power
        return powers / powers.sum()

    @cached_property
    def _alias(self) -> tuple[np.ndarray, np.ndarray]:
        return alias_table(self.noise_probability)

    def take(self, count: int) -> WindowBatch:
        """Returns the next `count` batches, leaves [count, M, …]. Raises ValueError for count < 1."""
        if count < 1:
            raise ValueError(f"count is {count}: take at least 1 batch.")
        batches = [self._batch(self._place + i) for i in range(count)]
        self._place += count
        return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)

    def get_state(self) -> bytes:
        """Returns the position as JSON."""
        return json.dumps({"batch": self._place, "words": len(self._text.ids), "seed": self._seed}).encode()

    def set_state(self, state: bytes) -> None:
        """Restores a position. Raises ValueError if it is not a state, or that of another text or seed."""
        try:
            fields = json.loads(state)
            place = int(fields["batch"])
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"state {state!r} is not that of windows: restore another, or start a new run."
            ) from None
        if (fields.get("words"), fields.get("seed")) != (len(self._text.ids), self._seed):
            raise ValueError("the state is of another text or seed: continue with the same.")
        self._place = place

    def _batch(self, number: int) -> WindowBatch:
        size, small, h = self._centres, self._small, self._window
        words, left, right = self._stretch(number * small * size, small * size)
        blocks = np.lib.stride_tricks.sliding_window_view(words, BLOCK + 2 * h)[::BLOCK]
        shape = (small, size // BLOCK, -1)
        draws = random_words(small * size // self._shared * self._count, self._seed, _NOISE + number)
        first, last = self._rates
        rate = max(first - (first - last) * number / self._steps, last)
        batch = WindowBatch(
            blocks.reshape(shape),
            left.reshape(shape),
            right.reshape(shape),
            draw(self._alias, draws).reshape(small, size // self._shared, self._count),
            np.full(small, rate, np.float32),
        )
        return WindowBatch(*(leaf[self._rows] for leaf in batch))

    def _stretch(self, start: int, size: int) -> tuple[np.ndarray, ...]:
        """Returns `size` centres of all epochs in a row, with H words on both sides: words, left and right."""
        parts, h = [], self._window
        while sum(len(part[1]) for part in parts) < size:
            place = start + sum(len(part[1]) for part in parts)
            epoch = self._epoch_at(place)
            words, left, right = self._kept(epoch)
            begin = place - self._starts[epoch]
            end = min(begin + size - (place - start), len(left))
            parts.append((words[begin : end + 2 * h], left[begin:end], right[begin:end]))
        # At an edge between epochs the words around a centre may be of the other one; no context reaches them.
        words = np.concatenate([parts[0][0], *(part[0][2 * h :] for part in parts[1:])])
        for part, begin in zip(parts[1:], np.cumsum([len(part[1]) for part in parts[:-1]]), strict=True):
            words[begin + h : begin + h + len(part[1])] = part[0][h : h + len(part[1])]
        return words, *(np.concatenate([part[i] for part in parts]) for i in (1, 2))

    def _epoch_at(self, place: int) -> int:
        while self._starts[-1] <= place:
            epoch = len(self._starts) - 1
            self._starts.append(self._starts[-1] + len(self._kept(epoch)[1]))
        return int(np.searchsorted(self._starts, place, side="right")) - 1

    def _kept(self, epoch: int) -> tuple[np.ndarray, ...]:
        """Returns the words kept in an epoch, between H zeros on both sides, and the reach of their contexts."""
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._drawn(epoch)
        return self._epoch[1]

    def _drawn(self, epoch: int) -> tuple[np.ndarray, ...]:
        text, h = self._text, self._window
        draws = random_words(len(text.ids), self._seed, epoch)
        kept = (draws >> np.uint64(16)) * 2.0**-48 < self._keep[text.ids]
        if not kept.any():
            raise ValueError("subsampling leaves no word of the text: raise sample, or give 0 for all words")
        sentence = np.repeat(np.arange(len(text.lengths)), text.lengths)[kept]
        starts = np.flatnonzero(np.diff(sentence, prepend=-1))
        lengths = np.diff(starts, append=len(sentence))
        place = np.arange(len(sentence)) - np.repeat(starts, lengths)
        after = np.repeat(lengths, lengths) - 1 - place
        reach = 1 + (draws[kept] & np.uint64(0xFFFF)).astype(np.int64) % h
        left, right = (np.minimum(reach, room).astype(np.int8) for room in (place, after))
        return np.pad(text.ids[kept], h), left, right


def kept_share(text: WordText, sample: float) -> Float[np.ndarray, "V"]:
    """Returns the probability with which each word is kept."""
    counts = np.array(text.vocabulary.counts)
    relative = sample * counts.sum() / counts
    return np.minimum(1, np.sqrt(relative) + relative) if sample else np.ones(len(counts))


def alias_table(probability: Float[np.ndarray, "V"]) -> tuple[np.ndarray, np.ndarray]:
    """Builds Walker's table of a distribution: a word v, all equally likely, is v with probability `own [V]`, else
    `other [V]`. Walker 1977; Vose 1991."""
    own, other = probability * len(probability), np.arange(len(probability))
    small, large = list(np.flatnonzero(own < 1)), list(np.flatnonzero(own >= 1))
    while small and large:
        less, more = small.pop(), large[-1]
        other[less] = more
        own[more] -= 1 - own[less]
        if own[more] < 1:
            small.append(large.pop())
    own[small + large] = 1  # what rounding has left
    return own, other


def draw(table: tuple[np.ndarray, np.ndarray], words: np.ndarray) -> Int32[np.ndarray, "N"]:
    """Draws from an alias table with random words of 64 bits."""
    own, other = table
    place = (words >> np.uint64(11)) * (2.0**-53 * len(own))
    slot = place.astype(np.int64)
    return np.where(place - slot < own[slot], slot, other[slot]).astype(np.int32)
