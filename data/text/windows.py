"""Random windows of a text as batches, each window by itself."""

import sys

import jax
import numpy as np

from data.pipeline import read_options, shard_indices
from data.position import ResumableIterator, random_integers
from data.text.streams import Ids, StreamBatch, check_length, pairs


class WindowBatches:
    """B random windows of T tokens of a text at a time, endlessly; nothing is carried between them.

    The first place of each window is drawn uniformly, and independently of all others, from the N − T + 1 places
    that T of the N targets follow: batch i is a function of the text, the seed and i alone. An epoch is as many
    batches as cover the text once, ⌈⌈N / T⌉ / B⌉, though single tokens may be missing from it and others repeated.
    `before` is the token before the first; without it the first token is an input only, and N is one less. Process
    p makes the p-th of P equal shards of each batch; batch i of all processes together is the same for any P.

    Raises ValueError if the text has fewer than T targets, or as `random_integers` does for the seed.
    """

    def __init__(
        self,
        tokens: Ids,
        *,
        batch_size: int,
        length: int,
        seed: int,
        before: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
    ) -> None:
        rows = shard_indices(batch_size, process_index, process_count)
        check_length(length)
        inputs, targets = pairs(tokens, before)
        count = len(targets) - length + 1
        if count < 1:
            raise ValueError(
                f"length is {length}, but the text has {len(targets)} tokens to predict: make the windows shorter."
            )
        random_integers(1, 1, seed)  # checks the seed before any batch is read
        covering = -(-len(targets) // length)
        self.batches_per_epoch = -(-covering // batch_size)

        def read(batch: int) -> StreamBatch:
            starts = random_integers(count, batch_size, seed, stream=batch)[rows]
            places = starts[None] + np.arange(length)[:, None]
            return StreamBatch(
                inputs[places].astype(np.int32),
                targets[places].astype(np.int32),
                np.ones(places.shape, bool),
                np.ones(len(rows), bool),
            )

        identity = {"targets": len(targets), "batch_size": batch_size, "length": length, "seed": seed}
        import grain

        dataset = grain.MapDataset.range(sys.maxsize).map(read)
        self._batches: ResumableIterator[StreamBatch] = ResumableIterator(dataset, identity, read_options(0))

    def take(self, count: int) -> StreamBatch:
        """Returns the next `count` batches, leaves [count, ...]. Raises ValueError for count < 1."""
        return jax.tree.map(lambda *leaves: np.stack(leaves), *self._batches.take(count))

    def get_state(self) -> bytes:
        return self._batches.get_state()

    def set_state(self, state: bytes) -> None:
        self._batches.set_state(state)
