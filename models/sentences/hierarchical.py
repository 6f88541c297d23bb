"""One vector of a document, from its words by way of its sentences, and the document again from that vector."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float, Int

from models.bridge import carried, carried_sizes, cross, init_bridge
from models.cell import Array, Cell, Params, State
from models.decoding.beam_search import beam_search
from models.decoding.steps import start, step
from models.encoder_decoder import Encoded, EncoderDecoder
from models.memory import Memory
from models.recurrence.unroll import output_size, unroll


class Hierarchical(nn.Module):
    """Reads words → sentences → document, and writes document → sentences → words, S sentences of W words:

        v_i = words of sentence i, read            d = cell(v_1 … v_S), its last state
        y_i = cell'(v_0 … v_{i−1} | d), v_0 = 0    p(sentence i) = words written from tanh(y_i A + b)

    `words` reads and writes a sentence; its decoder must be given the first state alone, of which v_i is made.
    `cell` serves documents, twice, with parameters of its own each time. Li, Luong & Jurafsky 2015, whose decoder
    reads the last state of its own words in place of v; v lets all sentences of a document be trained at once.

    A document is an array of ids `[W, S, *batch]`, each sentence with its end mark last; it ends with an empty
    sentence, the end mark alone. Parameters: `sentence`, those of `words`; `encoder`, `decoder`, `bridge`.

        model = Hierarchical(words, GRU(256))
        params = model.init(key, inputs, mask=mask)
        losses = model.apply(params, model.apply(params, inputs, mask=mask), inputs, mask=mask, method="losses_of")
    """

    words: EncoderDecoder
    cell: Cell

    def setup(self) -> None:
        ids = jnp.zeros((1, 1), jnp.int32)
        words: Any = self.words.clone(parent=None)
        own = self.param("sentence", lambda key: words.init(key, ids)["params"])
        sizes = carried_sizes(self.words.decoder, own["decoder"])
        self.param("encoder", lambda key: self.cell.init(key, sum(sizes)))
        decoder = self.param("decoder", lambda key: self.cell.init(key, sum(sizes)))
        size = output_size(self.cell, decoder, sum(sizes), "the cell of documents")
        self.param("bridge", init_bridge, "mean", [size] * len(sizes), sizes)

    def __call__(
        self,
        inputs: Int[Array, "W S *batch"],
        *,
        mask: Bool[Array, "W S *batch"] | None = None,
        train: bool = False,
    ) -> State:
        """Returns the vector of each document, the last state of its cell."""
        mask = jnp.ones(inputs.shape, bool) if mask is None else mask
        vectors = self.sentence_vectors(inputs, mask, train)
        return unroll(self.cell, self.own("encoder"), vectors, mask=jnp.any(mask, axis=0))[0]

    def sentence_vectors(
        self, inputs: Int[Array, "W *batch"], mask: Bool[Array, "W *batch"], train: bool = False
    ) -> Float[Array, "*batch N"]:
        """Reads sentences."""
        encoded = self.of_words("encode", inputs, mask=mask, train=train)
        return jnp.concatenate(carried(encoded.state, inputs.ndim - 1), axis=-1)

    def losses_of(
        self,
        document: State,
        inputs: Int[Array, "W S *batch"],
        *,
        mask: Bool[Array, "W S *batch"],
        train: bool = False,
    ) -> Float[Array, "S *batch"]:
        """Computes −ln p of each sentence given those before it and the vector of the document."""
        vectors = self.sentence_vectors(inputs, mask, train)
        before = jnp.concatenate([jnp.zeros_like(vectors[:1]), vectors[:-1]])
        valid = jnp.any(mask, axis=0)
        _, ys = unroll(self.cell, self.own("decoder"), before, document, mask=valid)
        losses = self.of_words("losses_of", self.first_state(ys), inputs, target_mask=mask, train=train)
        return jnp.sum(losses, axis=0)

    def first_state(self, ys: Float[Array, "*batch H"]) -> Encoded:
        """Returns the state from which the words of a sentence are written, as what is known of a source."""
        batch = ys.shape[:-1]
        state = self.words.decoder.initial_state(self.own("sentence")["decoder"], batch)
        given = [ys] * len(carried(state, len(batch)))
        nothing = Memory(jnp.zeros((1, *batch, 1), ys.dtype), jnp.ones((1, *batch), bool))
        return Encoded(nothing, cross(self.own("bridge"), given, state, len(batch)))

    def write(
        self, document: State, *, sentences: int, length: int, width: int = 1
    ) -> tuple[Int[Array, "S B W"], Bool[Array, "S B"]]:
        """Writes documents of at most S sentences of at most W = `length` tokens, each the best that a beam search
        finds given the sentences already written.

        Returns the tokens, zero after the end mark of a sentence, and which sentences stand before the document's
        end."""
        own, end = {"params": self.own("sentence")}, self.words.writer.end
        cell, weights = self.cell, self.cell.prepare(self.own("decoder"))
        count = jax.tree.leaves(document)[0].shape[0]
        size = sum(carried_sizes(self.words.decoder, own["params"]["decoder"]))

        def sentence(carry: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
            state, before, going = carry
            state, y = cell.step(weights, state, cell.drive(weights, before))
            prepared, first = start(self.words, own, self.first_state(y))
            beams = beam_search(
                partial(step, self.words, prepared),
                first,
                jnp.full(count, end, jnp.int32),
                width=width,
                length=length,
                end=end,
            )
            lengths = beams.lengths[:, 0]
            mask = jnp.arange(length)[:, None] < lengths[None]
            tokens = jnp.where(mask, beams.tokens[:, 0].T, 0)
            going &= tokens[0] != end
            return (state, self.sentence_vectors(tokens, mask), going), (tokens.T, going)

        carry = document, jnp.zeros((count, size)), jnp.ones(count, bool)
        return jax.lax.scan(sentence, carry, None, length=sentences)[1]

    def of_words(self, method: str, *args: Any, train: bool = False, **options: Any) -> Any:
        """Calls a method of `words`."""
        rngs = {
            name: self.make_rng(name) for name in ("dropout", "recurrent") if train and self.has_rng(name)
        }
        own = {"params": self.own("sentence")}
        return self.words.clone(parent=None).apply(
            own, *args, method=method, rngs=rngs, train=train, **options
        )

    def own(self, part: str) -> Params:
        """Returns the parameters of a part."""
        return self.get_variable("params", part)
