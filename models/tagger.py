"""Taggers: a tag for every word, from the words on both sides of it, and a label for the sentence."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float, Int

from models.cell import Array, Cell, check_at_least
from models.crf import ChainWeights, chain_losses, init_chain, tag_probabilities, viterbi
from models.layers.dropout import Dropout, check_rate
from models.layers.pooling import mean_valid
from models.layers.recurrent import Recurrent
from models.recurrence.methods import Method
from models.word_reader import WordReader


class Tagged(NamedTuple):
    """Logits of the tags, `tags [T, *batch, K]`, and of the sentences' labels, `labels [*batch, L]` or None."""

    tags: Array
    labels: Array | None


class Tagger(nn.Module):
    """Tags each word of a sentence; with `labels` it labels the sentence too:

        x_t = reader(w_t)      y_1 … y_T = cell(x_1 … x_T)      e_t = y_t W + b      z = mean_t(y_t) V + c

    The tags are independent given the words, p(k_t) = softmax(e_t), or with `chain` those of a linear-chain
    conditional random field with the emissions e (Lample et al. 2016; see `models.crf`). In training `dropout`
    falls on x and y, and the reader drops words; both use the RNG stream `dropout`, the cell `recurrent`.

    Words are rows of ids `[T, *batch, 1 + C]`: see `WordReader`. Values at masked steps are ignored.

        model = Tagger(WordReader(TokenReader(5000, 100)), Bidirectional(LSTM(128)), tags=17)
        params = model.init(jax.random.key(0), inputs, mask=mask)
        tags, _ = model.apply(params, inputs, mask=mask, method="predict")
    """

    reader: WordReader
    cell: Cell
    tags: int
    labels: int = 0
    chain: bool = False
    dropout: float = 0.0
    method: Method = "auto"

    def setup(self) -> None:
        check_at_least(1, tags=self.tags)
        check_rate(self.dropout)
        self.words = self.param("reader", self.reader.init)
        self.recurrent = Recurrent(self.cell)
        self.emit = nn.Dense(self.tags)
        if self.labels:
            self.classify = nn.Dense(self.labels)
        if self.chain:
            self.links = self.param("chain", lambda key: init_chain(key, self.tags)._asdict())

    def __call__(
        self,
        inputs: Int[Array, "T *batch columns"],
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Tagged:
        """Returns the logits."""
        if mask is not None:
            inputs = jnp.where(mask[..., None], inputs, 0)
        if train and self.reader.word_dropout:
            inputs = self.reader.drop_words(inputs, self.make_rng("dropout"))
        xs = self.apply_dropout(self.reader(self.words, inputs), train)
        _, ys = self.recurrent(xs, mask=mask, method=self.method, train=train)
        ys = self.apply_dropout(ys, train)
        return Tagged(self.emit(ys), self.classify(mean_valid(ys, mask)) if self.labels else None)

    def loss(
        self,
        inputs: Int[Array, "T *batch columns"],
        tags: Int[Array, "T *batch"],
        labels: Int[Array, "*batch"] | None = None,
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Computes Σ −ln p of the tags and of the labels, in nats, and the number of words. A sentence without a
        valid step counts nothing."""
        mask = jnp.ones(tags.shape, bool) if mask is None else mask
        logits = self(inputs, mask=mask, train=train)
        tags, real = jnp.where(mask, tags, 0), jnp.any(mask, axis=0)
        if self.chain:
            total = jnp.sum(chain_losses(ChainWeights(**self.links), logits.tags, tags, mask))
        else:
            total = jnp.sum(jnp.where(mask, _losses(logits.tags, tags), 0))
        if logits.labels is not None and labels is not None:
            total += jnp.sum(jnp.where(real, _losses(logits.labels, jnp.where(real, labels, 0)), 0))
        return total, jnp.sum(mask, dtype=total.dtype)

    def predict(
        self, inputs: Int[Array, "T *batch columns"], *, mask: Bool[Array, "T *batch"] | None = None
    ) -> tuple[Int[Array, "T *batch"], Int[Array, "*batch"] | None]:
        """Returns the likeliest tags, of a chain the likeliest sequence, 0 at masked steps; and the labels."""
        logits = self(inputs, mask=mask)
        if self.chain:
            tags, _ = viterbi(ChainWeights(**self.links), logits.tags, mask)
        else:
            tags = jnp.argmax(logits.tags, axis=-1)
            tags = tags if mask is None else jnp.where(mask, tags, 0)
        return tags, None if logits.labels is None else jnp.argmax(logits.labels, axis=-1)

    def probabilities(
        self, inputs: Int[Array, "T *batch columns"], *, mask: Bool[Array, "T *batch"] | None = None
    ) -> Float[Array, "T *batch K"]:
        """Returns the probability of each tag at each step, 0 at masked steps."""
        logits = self(inputs, mask=mask).tags
        if self.chain:
            return tag_probabilities(ChainWeights(**self.links), logits, mask)
        found = jax.nn.softmax(logits)
        return found if mask is None else jnp.where(mask[..., None], found, 0)

    def apply_dropout(self, xs: Array, train: bool) -> Array:
        """Drops units in training."""
        return Dropout(self.dropout)(xs, self.make_rng("dropout")) if train and self.dropout else xs


def _losses(logits: Float[Array, "*shape K"], targets: Int[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Computes −ln softmax(logits)[target]."""
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen
