"""Whole models over sequences: one output per sequence, and one output per step."""

from typing import Literal, get_args

import jax.numpy as jnp
from flax import linen as nn

from models.cell import Array, Cell, check_at_least
from models.layers.pooling import mean_valid
from models.layers.recurrent import Recurrent
from models.recurrence.methods import Method
from models.recurrence.unroll import last_output
from models.token_ids import embed

Pool = Literal["last", "mean"]


class SequenceClassifier(nn.Module):
    """Logits for a whole sequence:

        e_t = E[x_t] (or x_t itself)      y_1 … y_T = cell(e_1 … e_T)      logits = pool(y) W + b

    with `pool` the last valid output (for two directions the forward cell's at the last valid step and the backward
    cell's at the first) or the mean over the valid steps. `classes` is the number of logits (1 for a regression).
    With a `vocabulary_size` the inputs are token ids `[T, *batch]` and are embedded in `embedding_size` dimensions;
    without, they are `[T, *batch, D]`. `method` is passed to `unroll`.

    Examples:
        >>> model, xs = SequenceClassifier(GRU(4), classes=10), jnp.ones((7, 2, 3))
        >>> params = model.init(jax.random.key(0), xs)
        >>> model.apply(params, xs).shape
        (2, 10)
    """

    cell: Cell
    classes: int
    vocabulary_size: int | None = None
    embedding_size: int = 64
    pool: Pool = "last"
    method: Method = "auto"

    def setup(self) -> None:
        check_at_least(1, classes=self.classes, embedding_size=self.embedding_size)
        if self.pool not in get_args(Pool):
            raise ValueError(f"unknown pool {self.pool!r}: there are {', '.join(get_args(Pool))}")
        if self.vocabulary_size is not None:
            check_at_least(1, vocabulary_size=self.vocabulary_size)
            self.embedding = nn.Embed(self.vocabulary_size, self.embedding_size)
        self.recurrent = Recurrent(self.cell)
        self.readout = nn.Dense(self.classes)

    def __call__(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """Returns logits `[*batch, classes]`."""
        xs = inputs if self.vocabulary_size is None else embed_ids(self.embedding, inputs, mask)
        if self.pool == "last":
            return self.logits(
                self.recurrent(xs, mask=mask, method=self.method, train=train, run=last_output)
            )
        _, ys = self.recurrent(xs, mask=mask, method=self.method, train=train)
        return self.logits(mean_valid(ys, mask))

    def logits(self, pooled: Array) -> Array:
        """Maps a pooled output `[*batch, H]` to logits `[*batch, classes]`."""
        return self.readout(pooled)


class SequenceTagger(nn.Module):
    """Logits for every step:

        e_t = E[x_t] (or x_t itself)      y_1 … y_T = cell(e_1 … e_T)      logits_t = y_t W + b

    At masked steps y is zero, so the logits are b. With a `vocabulary_size` the inputs are token ids `[T, *batch]`
    and are embedded in `embedding_size` dimensions; without, they are `[T, *batch, D]`. `method` is passed to
    `unroll`.
    """

    cell: Cell
    classes: int
    vocabulary_size: int | None = None
    embedding_size: int = 64
    method: Method = "auto"

    def setup(self) -> None:
        check_at_least(1, classes=self.classes, embedding_size=self.embedding_size)
        if self.vocabulary_size is not None:
            check_at_least(1, vocabulary_size=self.vocabulary_size)
            self.embedding = nn.Embed(self.vocabulary_size, self.embedding_size)
        self.recurrent = Recurrent(self.cell)
        self.readout = nn.Dense(self.classes)

    def __call__(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """Returns logits `[T, *batch, classes]`."""
        xs = inputs if self.vocabulary_size is None else embed_ids(self.embedding, inputs, mask)
        _, ys = self.recurrent(xs, mask=mask, method=self.method, train=train)
        return self.readout(ys)


def embed_ids(embedding: nn.Embed, ids: Array, mask: Array | None) -> Array:
    """Returns the embeddings `[T, *batch, E]` of token ids. An id outside 0 … V−1 at a valid step raises
    ValueError, or gives NaN under `jit`."""
    return embed(embedding.embedding, ids if mask is None else jnp.where(mask, ids, 0))
