"""Whole models over sequences: one answer a sequence, and one answer a step."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn

from models.cell import Array, Cell, at_least
from models.recurrent import Recurrent


def last_valid(ys: Array, mask: Array | None = None) -> Array:
    """The output of each sequence's last valid step: `ys [T, *batch, H]`, `mask [T, *batch]` → `[*batch, H]`.
    Zero for a sequence without one."""
    if ys.shape[0] == 0:
        return jnp.zeros(ys.shape[1:], ys.dtype)
    if mask is None:
        return ys[-1]
    last = mask.shape[0] - 1 - jnp.argmax(mask[::-1], axis=0)
    picked = jnp.take_along_axis(ys, last[None, ..., None], axis=0)[0]
    return jnp.where(jnp.any(mask, axis=0)[..., None], picked, 0)


def mean_valid(ys: Array, mask: Array | None = None) -> Array:
    """The mean output over each sequence's valid steps: `ys [T, *batch, H]`, `mask [T, *batch]` → `[*batch, H]`.
    Zero for a sequence without one."""
    if mask is None:
        mask = jnp.ones(ys.shape[:-1], bool)
    count = jnp.maximum(jnp.sum(mask, axis=0), 1)
    return jnp.sum(jnp.where(mask[..., None], ys, 0), axis=0) / count[..., None]


class SequenceClassifier(nn.Module):
    """Logits for a whole sequence:

        e_t = E[x_t] (or x_t itself)      y_1 … y_T = cell(e_1 … e_T)      logits = pool(y) W + b

    with `pool` the last valid output or the mean over the valid steps. `classes` is the number of logits (1 for a
    regression). With a `vocabulary_size` the inputs are token ids `[T, *batch]` and are embedded in
    `embedding_size` dimensions; without, they are `[T, *batch, D]`.
    """

    cell: Cell
    classes: int
    vocabulary_size: int | None = None
    embedding_size: int = 64
    pool: Literal["last", "mean"] = "last"

    def setup(self) -> None:
        at_least(1, classes=self.classes, embedding_size=self.embedding_size)
        if self.pool not in ("last", "mean"):
            raise ValueError(f"pool is 'last' or 'mean', but is {self.pool!r}")
        if self.vocabulary_size is not None:
            at_least(1, vocabulary_size=self.vocabulary_size)
            self.embedding = nn.Embed(self.vocabulary_size, self.embedding_size)
        self.recurrent = Recurrent(self.cell)
        self.readout = nn.Dense(self.classes)

    def __call__(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """Logits `[*batch, classes]`."""
        ys = self.outputs(inputs, mask=mask, train=train)
        return self.logits(last_valid(ys, mask) if self.pool == "last" else mean_valid(ys, mask))

    def outputs(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """The cell's outputs `[T, *batch, H]`."""
        xs = inputs if self.vocabulary_size is None else self.embedding(inputs)
        _, ys = self.recurrent(xs, mask=mask, train=train)
        return ys

    def logits(self, pooled: Array) -> Array:
        """What the readout makes of a pooled output `[*batch, H]`: `[*batch, classes]`."""
        return self.readout(pooled)


class SequenceTagger(nn.Module):
    """Logits for every step: logits_t = y_t W + b with y = cell(x). Zero outputs (so only b) at masked steps."""

    cell: Cell
    classes: int

    def setup(self) -> None:
        at_least(1, classes=self.classes)
        self.recurrent = Recurrent(self.cell)
        self.readout = nn.Dense(self.classes)

    def __call__(self, xs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """`xs [T, *batch, D]` → `[T, *batch, classes]`."""
        _, ys = self.recurrent(xs, mask=mask, train=train)
        return self.readout(ys)
