"""Whole models over sequences: one answer a sequence, and one answer a step."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from flax import linen as nn

from models.cell import Array, Cell, at_least
from models.recurrence import Method
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


def ends_valid(ys: Array, mask: Array | None = None) -> Array:
    """What each direction says when it has read all: of `ys [T, *batch, 2H]` the first H numbers, the forward
    direction's, at each sequence's last valid step, and the others at its first: `[*batch, 2H]`."""
    if ys.shape[-1] % 2:
        raise ValueError(
            f"two directions of one size give an even number of outputs, but here are {ys.shape[-1]}"
        )
    forward, backward = jnp.split(ys, 2, axis=-1)
    return jnp.concatenate([last_valid(forward, mask), first_valid(backward, mask)], axis=-1)


def first_valid(ys: Array, mask: Array | None = None) -> Array:
    """The output of each sequence's first valid step: `ys [T, *batch, H]`, `mask [T, *batch]` → `[*batch, H]`.
    Zero for a sequence without one."""
    return last_valid(ys[::-1], None if mask is None else mask[::-1])


def mean_valid(ys: Array, mask: Array | None = None) -> Array:
    """The mean output over each sequence's valid steps: `ys [T, *batch, H]`, `mask [T, *batch]` → `[*batch, H]`.
    Zero for a sequence without one."""
    if mask is None:
        mask = jnp.ones(ys.shape[:-1], bool)
    count = jnp.maximum(jnp.sum(mask, axis=0), 1)
    return jnp.sum(jnp.where(mask[..., None], ys, 0), axis=0) / count[..., None]


Pool = Literal["last", "first", "ends", "mean"]
POOLS: dict[str, Callable[[Array, Array | None], Array]] = {
    "last": last_valid,
    "first": first_valid,
    "ends": ends_valid,
    "mean": mean_valid,
}


class SequenceClassifier(nn.Module):
    """Logits for a whole sequence:

        e_t = E[x_t] (or x_t itself)      y_1 … y_T = cell(e_1 … e_T)      logits = pool(y) W + b

    with `pool` the last valid output, the first (where a `Backward` layer has read all), both ends (a
    `Bidirectional` of two equal sizes, concatenated) or the mean over the valid steps. `classes` is the number of
    logits (1 for a regression). With a `vocabulary_size` the inputs are token ids `[T, *batch]` and are embedded in
    `embedding_size` dimensions; without, they are `[T, *batch, D]`. `method` is the way through time: see `unroll`.
    """

    cell: Cell
    classes: int
    vocabulary_size: int | None = None
    embedding_size: int = 64
    pool: Pool = "last"
    method: Method = "auto"

    def setup(self) -> None:
        at_least(1, classes=self.classes, embedding_size=self.embedding_size)
        if self.pool not in POOLS:
            raise ValueError(f"unknown pool {self.pool!r}: there are {', '.join(POOLS)}")
        if self.vocabulary_size is not None:
            at_least(1, vocabulary_size=self.vocabulary_size)
            self.embedding = nn.Embed(self.vocabulary_size, self.embedding_size)
        self.recurrent = Recurrent(self.cell)
        self.readout = nn.Dense(self.classes)

    def __call__(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """Logits `[*batch, classes]`."""
        ys = self.outputs(inputs, mask=mask, train=train)
        return self.logits(POOLS[self.pool](ys, mask))

    def outputs(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """The cell's outputs `[T, *batch, H]`."""
        xs = inputs if self.vocabulary_size is None else self.embedding(inputs)
        _, ys = self.recurrent(xs, mask=mask, method=self.method, train=train)
        return ys

    def logits(self, pooled: Array) -> Array:
        """What the readout makes of a pooled output `[*batch, H]`: `[*batch, classes]`."""
        return self.readout(pooled)


class SequenceTagger(nn.Module):
    """Logits for every step: logits_t = y_t W + b with y = cell(x). Zero outputs (so only b) at masked steps.

    `method` is the way through time: see `unroll`."""

    cell: Cell
    classes: int
    method: Method = "auto"

    def setup(self) -> None:
        at_least(1, classes=self.classes)
        self.recurrent = Recurrent(self.cell)
        self.readout = nn.Dense(self.classes)

    def __call__(self, xs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """`xs [T, *batch, D]` → `[T, *batch, classes]`."""
        _, ys = self.recurrent(xs, mask=mask, method=self.method, train=train)
        return self.readout(ys)
