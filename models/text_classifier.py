"""A classifier of sentences: words to vectors, a layer in one direction or both, pooling, a class."""

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn

from models.cell import Array, Cell, check_at_least
from models.layers.pooling import AttentionPooling, max_valid, mean_valid
from models.layers.recurrent import Recurrent
from models.recurrence.methods import Method
from models.recurrence.unroll import last_output
from models.word_reader import WordReader

TextPool = Literal["last", "mean", "max", "attention"]


class TextClassifier(nn.Module):
    """Logits for the class of a sentence:

        e_1 … e_T = reader(words)      y_1 … y_T = cell(e_1 … e_T)      logits = pool(y_1 … y_T) W + b

    Pooling takes the `last` output, where each direction has read all of the sentence; or over all valid words the
    `mean`, the `max`imum of each unit, or a weighted mean, `attention` (`AttentionPooling`). `dropout` falls on e_t
    and on what is pooled, in training.

    Inputs are the rows `[T, *batch, columns]` of ids that `reader` takes. In training (`train=True`) random numbers
    come from the RNG stream `recurrent`. Parameters: `reader`, `recurrent`, `readout` and, for attention,
    `pooling`.
    """

    reader: WordReader
    cell: Cell
    classes: int
    pool: TextPool = "attention"
    attention_size: int = 64
    dropout: float = 0.0
    method: Method = "auto"

    def setup(self) -> None:
        check_at_least(1, classes=self.classes, attention_size=self.attention_size)
        self.words = self.param("reader", self.reader.init)
        self.recurrent = Recurrent(self.cell)
        self.drop = nn.Dropout(self.dropout, rng_collection="recurrent")
        self.readout = nn.Dense(self.classes)
        if self.pool == "attention":
            self.pooling = Attention(AttentionPooling(self.attention_size))

    def __call__(self, inputs: Array, *, mask: Array | None = None, train: bool = False) -> Array:
        """Returns logits `[*batch, classes]`."""
        xs = self.read(inputs, mask, train=train)
        if self.pool == "last":
            run = last_output
            pooled = self.recurrent(xs, mask=mask, method=self.method, train=train, run=run)
        else:
            ys = self.outputs(xs, mask, train=train)
            match self.pool:
                case "mean":
                    pooled = mean_valid(ys, mask)
                case "max":
                    pooled = max_valid(ys, mask)
                case "attention":
                    pooled, _ = self.pooling(ys, mask)
        return self.readout(self.drop(pooled, deterministic=not train))

    def attention_weights(self, inputs: Array, *, mask: Array | None = None) -> Array:
        """Returns the weight α_t of each word, `[T, *batch]`. Raises ValueError where pooling has none."""
        if self.pool != "attention":
            raise ValueError(f"the pooling is {self.pool!r}, which has no weights: give pool='attention'")
        return self.pooling(self.outputs(self.read(inputs, mask), mask), mask)[1]

    def word_logits(self, inputs: Array, *, mask: Array | None = None) -> Array:
        """Returns the logits y_t W + b that the output at each word would give alone, `[T, *batch, classes]`.

        Those of the sentence are their mean weighted by α_t, or their mean, where the pooling is that. A layer that
        reads forward only knows nothing there of the words after t."""
        return self.readout(self.outputs(self.read(inputs, mask), mask))

    def read(self, inputs: Array, mask: Array | None, *, train: bool = False) -> Array:
        """Returns the vectors of the words, in training some words unknown, and some numbers dropped."""
        inputs = jnp.asarray(inputs) if mask is None else jnp.where(mask[..., None], inputs, 0)
        if train and self.has_rng("recurrent"):
            inputs = self.reader.drop_words(inputs, self.make_rng("recurrent"))
        return self.drop(self.reader(self.words, inputs), deterministic=not train)

    def outputs(self, xs: Array, mask: Array | None, *, train: bool = False) -> Array:
        """Returns the outputs y `[T, *batch, H]` of the layer."""
        return self.recurrent(xs, mask=mask, method=self.method, train=train)[1]


class Attention(nn.Module):
    """`AttentionPooling` as a Linen module, whose parameters Flax stores under the name `attention`."""

    pooling: AttentionPooling

    @nn.compact
    def __call__(self, ys: Array, mask: Array | None = None) -> tuple[Array, Array]:
        params = self.param("attention", lambda key: self.pooling.init(key, ys.shape[-1]))
        return self.pooling(params, ys, mask)
