"""A masked language model: hidden words told from both sides, and whether a second span follows the first."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float, Int

from models.cell import Array, Cell, check_at_least, gelu
from models.layers.dropout import Dropout, check_rate
from models.layers.recurrent import Recurrent
from models.token_ids import embed


class MaskedLanguageModel(nn.Module):
    """The model of Devlin et al. 2019 (BERT), around any layer that reads in both directions:

        e_t = E[w_t] + S[s_t]        y_1 … y_T = cell(e_1 … e_T)
        p(word at t) = softmax(norm(gelu(y_t A + a)) Eᵀ + b)       p(follows) = softmax(tanh(y_1 P + p) F + f)

    E has a row for each of the V = `vocabulary_size` types and for `marks` further ids (the beginning, the end of a
    span, a hidden word), which are never told. S tells the two spans apart. In training `dropout` falls on e, by
    the RNG stream `recurrent`, which the cell uses too.
    """

    cell: Cell
    vocabulary_size: int
    embedding_size: int
    marks: int = 3
    dropout: float = 0.0

    def setup(self) -> None:
        check_at_least(1, vocabulary_size=self.vocabulary_size, embedding_size=self.embedding_size)
        check_rate(self.dropout)
        self.embedding = nn.Embed(self.vocabulary_size + self.marks, self.embedding_size)
        self.spans = nn.Embed(2, self.embedding_size)
        self.recurrent = Recurrent(self.cell)
        self.transform = nn.Dense(self.embedding_size)
        self.norm = nn.LayerNorm()
        self.bias = self.param("bias", nn.initializers.zeros, (self.vocabulary_size,))
        self.pool = nn.Dense(self.embedding_size)
        self.follows = nn.Dense(2)

    def __call__(
        self,
        tokens: Int[Array, "T *batch"],
        spans: Int[Array, "T *batch"] | None = None,
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Float[Array, "T *batch H"]:
        """Returns y; without `spans` all tokens are of the first."""
        if mask is not None:
            tokens = jnp.where(mask, tokens, 0)
        xs = embed(self.embedding.embedding, tokens, what="tokens")
        xs = xs + self.spans(jnp.zeros_like(tokens) if spans is None else spans)
        if train and self.dropout:
            xs = Dropout(self.dropout)(xs, self.make_rng("recurrent"))
        return self.recurrent(xs, mask=mask, train=train)[1]

    def words(self, ys: Float[Array, "*batch H"]) -> Float[Array, "*batch V"]:
        """Computes the logits of the word at a place from its y."""
        hidden = self.norm(gelu(self.transform(ys)))
        logits = hidden @ self.embedding.embedding[: self.vocabulary_size].T
        return logits + self.bias.reshape((1,) * (ys.ndim - 1) + self.bias.shape)

    def following(self, ys: Float[Array, "T *batch H"]) -> Float[Array, "*batch 2"]:
        """Computes the logits of the answers no and yes to whether the second span follows the first."""
        return self.follows(jnp.tanh(self.pool(ys[0])))

    def answers(
        self,
        tokens: Int[Array, "T B"],
        spans: Int[Array, "T B"],
        places: Int[Array, "P B"],
        *,
        mask: Bool[Array, "T B"] | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "P B V"], Float[Array, "B 2"]]:
        """Computes the logits of the words at `places`, and of whether the second span follows."""
        ys = self(tokens, spans, mask=mask, train=train)
        at = jnp.take_along_axis(ys, places[..., None], axis=0)
        return self.words(at), self.following(ys)
