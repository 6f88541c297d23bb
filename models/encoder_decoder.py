"""Encoder–decoder models: one sequence is read, another is written."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float, Int

from models.bridge import Bridge, carried, carried_sizes, check_fit, cross, init_bridge
from models.cell import Array, Cell, Key, Params, State, Weights
from models.layers.dropout import Dropout, check_rate
from models.layers.layer import check_causal
from models.layers.pooling import mean_valid
from models.memory import Memory, memory_argument
from models.readers import Reader, TokenWriter
from models.recurrence.methods import Method
from models.recurrence.unroll import output_size, unroll
from models.softmax import compute_logits, cross_entropies, summed_cross_entropy


class Encoded(NamedTuple):
    """Knowledge of a source that a decoder is given: its `memory`, L vectors `[L, *batch, M]` and their mask, and
    the `state` that the decoder starts from, leaves `[*batch, ...]`."""

    memory: Memory
    state: State


class EncoderDecoder(nn.Module):
    """Models p(w_1 … w_T | x_1 … x_L), for B pairs at once:

        m_1 … m_L = encoder(reader(x))        s_0 = bridge(encoder's last state, or m)
        y_t, s_t = decoder(s_{t−1}, E[w_{t−1}], m)        p(w_t | …) = softmax(y_t W + b)

    `encoder` is any cell or layer, also one that reads from both ends or sees all steps. `decoder` is any
    causal one, and what it is made of says what it sees of the source (`models.memory`):

        GRU(256)                                            its first state alone: Sutskever, Vinyals & Le 2014
        FedContext(GRU(256), 256)                           a summary at every step: Cho et al. 2014
        AttentionCell(GRU(256), memory_size=512)            attention in the recurrence: Bahdanau et al. 2015
        Stacked((LSTM(256), AttentionReadout(512)))         attention on the outputs: Luong, Pham & Manning 2015
        Transformer(256, memory_size=256)                   Vaswani et al. 2017

    `bridge` says what s_0 is made of: the encoder's last "state", leaf by leaf, through a learned map where sizes
    differ (`models.bridge`); the "mean" of m through a learned map; or "none", the decoder's own initial state.

    `reader` maps the source to vectors, `writer` the target; `shared=True` gives both one embedding. In training
    `dropout` is applied to the vectors of both and to y, with new units at every step; it uses the RNG stream
    `dropout`, encoder and decoder `recurrent`. `method` is passed to `unroll`.

        end = 1
        model = EncoderDecoder(
            Bidirectional(GRU(256)), AttentionCell(GRU(256), memory_size=512),
            TokenReader(8000, 256), TokenWriter(8000, 256, end=end),
        )
        params = model.init(key, inputs, mask=mask)
        total, count = model.apply(params, inputs, targets, mask=mask, target_mask=target_mask, method="loss")

    Sequences are ids `[L, *batch]` and `[T, *batch]`, the end mark last; nothing of a masked step reaches a
    value or a gradient. Raises ValueError if the parts don't fit one another.
    """

    encoder: Cell
    decoder: Cell
    reader: Reader
    writer: TokenWriter
    bridge: Bridge = "state"
    shared: bool = False
    dropout: float = 0.0
    method: Method = "auto"

    def setup(self) -> None:
        check_rate(self.dropout)
        check_causal(self.decoder)
        reader = self.param("reader", self.reader.init)
        encoder = self.param("encoder", lambda key: self.encoder.init(key, self.reader.size))
        decoder = self.param("decoder", lambda key: self.decoder.init(key, self.writer.size))
        value_size = output_size(self.encoder, encoder, self.reader.size, "the encoder")
        check_fit(self.encoder, self.decoder, value_size, self.bridge)
        if self.shared:
            self.check_shared(reader)
        size = output_size(self.decoder, decoder, self.writer.size, "the decoder")
        self.param("writer", self.init_writer, size)
        if self.bridge != "none":
            wanted = carried_sizes(self.decoder, decoder)
            means = [value_size] * len(wanted)
            given = carried_sizes(self.encoder, encoder) if self.bridge == "state" else means
            self.param("bridge", init_bridge, self.bridge, given, wanted)

    def init_writer(self, key: Key, size: int) -> Params:
        """Returns the writer's own parameters, for outputs y of this size."""
        key_embedding, key_readout = jax.random.split(key)
        embedding = {} if self.shared else self.writer.init(key_embedding)
        return embedding | self.writer.init_readout(key_readout, size)

    def check_shared(self, reader: Params) -> None:
        """Raises ValueError if the writer can't use the reader's embedding."""
        wanted = [self.writer.vocabulary_size, self.writer.size]
        found = list(reader["embedding"].shape) if "embedding" in reader else "none"
        if found != wanted:
            raise ValueError(
                f"shared=True gives the writer the reader's embedding, but the writer takes {wanted} and the "
                f"reader has {found}"
            )

    def own(self, part: str) -> Params:
        """Returns the parameters of a part; the writer's with the embedding that it shares."""
        params = self.get_variable("params", part)
        if part == "writer" and self.shared:
            return params | {"embedding": self.own("reader")["embedding"]}
        return params

    def __call__(
        self,
        inputs: Array,
        *,
        mask: Bool[Array, "L *batch"] | None = None,
        targets: Int[Array, "T *batch"] | None = None,
        target_mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Array | Encoded:
        """Returns the logits `[T, *batch, V]` of every target given those before it; without targets, what is
        known of the source."""
        encoded = self.encode(inputs, mask=mask, train=train)
        if targets is None:
            return encoded
        fed = self.writer.shifted(targets, target_mask)
        return self.logits(self.decode(encoded, fed, mask=target_mask, train=train))

    def encode(
        self, inputs: Array, *, mask: Bool[Array, "L *batch"] | None = None, train: bool = False
    ) -> Encoded:
        """Reads the sources `[L, *batch, ...]`."""
        return self.encode_vectors(self.read(inputs, mask=mask), mask=mask, train=train)

    def read(
        self, inputs: Array, *, mask: Bool[Array, "L *batch"] | None = None
    ) -> Float[Array, "L *batch E"]:
        """Maps the sources to vectors; those of masked steps are of no account."""
        if mask is not None:
            valid = mask.reshape(mask.shape + (1,) * (inputs.ndim - mask.ndim))
            inputs = jnp.where(valid, inputs, jnp.zeros_like(inputs))
        return self.reader(self.own("reader"), inputs)

    def encode_vectors(
        self,
        xs: Float[Array, "L *batch E"],
        *,
        mask: Bool[Array, "L *batch"] | None = None,
        train: bool = False,
    ) -> Encoded:
        """Reads the sources as vectors, as `read` returns them."""
        options: Any = {"mask": mask, "method": self.method, "train": train, "key": self.cell_key(train)}
        final, values = unroll(self.encoder, self.own("encoder"), self.apply_dropout(xs, train), **options)
        memory = Memory(values, jnp.ones(xs.shape[:-1], bool) if mask is None else mask)
        state = self.decoder.initial_state(self.own("decoder"), xs.shape[1:-1])
        if self.bridge == "none":
            return Encoded(memory, state)
        axes = xs.ndim - 2
        given = carried(final, axes)
        if self.bridge == "mean":
            given = [mean_valid(values, mask)] * len(carried(state, axes))
        return Encoded(memory, cross(self.own("bridge"), given, state, axes))

    def decode(
        self,
        encoded: Encoded,
        fed: Int[Array, "T *batch"],
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Float[Array, "T *batch H"]:
        """Returns y at every step, given the decoder's inputs, w_0 … w_{T−1}."""
        if mask is not None:
            fed = jnp.where(mask, fed, 0)
        xs = self.apply_dropout(self.writer(self.own("writer"), fed), train)
        options: Any = {"mask": mask, "method": self.method, "train": train, "key": self.cell_key(train)}
        options |= memory_argument(self.decoder, encoded.memory)
        _, ys = unroll(self.decoder, self.own("decoder"), xs, encoded.state, **options)
        return self.apply_dropout(ys, train)

    def logits(self, ys: Float[Array, "*batch H"]) -> Float[Array, "*batch V"]:
        """Computes z = y W + b."""
        return compute_logits(ys, *self.writer.readout(self.own("writer")))

    def loss(
        self,
        inputs: Array,
        targets: Int[Array, "T *batch"],
        *,
        mask: Bool[Array, "L *batch"] | None = None,
        target_mask: Bool[Array, "T *batch"] | None = None,
        fed: Int[Array, "T *batch"] | None = None,
        smoothing: float = 0.0,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Computes Σ −ln p(target) over the valid targets, in nats, and their number.

        `fed` are the decoder's inputs, by default the true ones (`writer.shifted(targets)`); `smoothing` as for
        `summed_cross_entropy`.
        """
        encoded = self.encode(inputs, mask=mask, train=train)
        return self.loss_of(
            encoded, targets, target_mask=target_mask, fed=fed, smoothing=smoothing, train=train
        )

    def loss_of(
        self,
        encoded: Encoded,
        targets: Int[Array, "T *batch"],
        *,
        target_mask: Bool[Array, "T *batch"] | None = None,
        fed: Int[Array, "T *batch"] | None = None,
        smoothing: float = 0.0,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Computes `loss` from what is known of the source."""
        fed = self.writer.shifted(targets, target_mask) if fed is None else fed
        ys = self.decode(encoded, fed, mask=target_mask, train=train)
        dtype = jnp.promote_types(ys.dtype, jnp.float32)
        weights = jnp.ones(targets.shape, dtype) if target_mask is None else jnp.asarray(target_mask, dtype)
        total: Any = summed_cross_entropy(
            ys.reshape(-1, ys.shape[-1]),
            *self.writer.readout(self.own("writer")),
            targets.reshape(-1),
            weights.reshape(-1),
            smoothing,
        )
        return total, jnp.sum(weights)

    def token_losses(
        self,
        inputs: Array,
        targets: Int[Array, "T *batch"],
        *,
        mask: Bool[Array, "L *batch"] | None = None,
        target_mask: Bool[Array, "T *batch"] | None = None,
    ) -> Float[Array, "T *batch"]:
        """Computes −ln p(target) of each target, in nats, zero where `target_mask` is False."""
        return self.losses_of(self.encode(inputs, mask=mask), targets, target_mask=target_mask)

    def losses_of(
        self,
        encoded: Encoded,
        targets: Int[Array, "T *batch"],
        *,
        target_mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Float[Array, "T *batch"]:
        """Computes `token_losses` from what is known of the source."""
        ys = self.decode(encoded, self.writer.shifted(targets, target_mask), mask=target_mask, train=train)
        if target_mask is not None:
            targets = jnp.where(target_mask, targets, 0)
        kernel, bias = self.writer.readout(self.own("writer"))
        losses = cross_entropies(ys.reshape(-1, ys.shape[-1]), kernel, bias, targets.reshape(-1))
        losses = losses.reshape(targets.shape)
        return losses if target_mask is None else jnp.where(target_mask, losses, 0)

    def start(self, encoded: Encoded) -> tuple["DecoderWeights", State]:
        """Returns what the steps of decoding use, prepared once, and the first state."""
        batch_shape = encoded.memory.mask.shape[1:]
        given: Any = memory_argument(self.decoder, encoded.memory)
        own = self.decoder.prepare(self.own("decoder"), batch_shape=batch_shape, **given)
        readout = self.writer.readout(self.own("writer"))
        return DecoderWeights(own, self.own("writer")["embedding"], *readout), encoded.state

    def apply_dropout(self, xs: Array, train: bool) -> Array:
        """Drops units in training."""
        return Dropout(self.dropout)(xs, self.make_rng("dropout")) if train and self.dropout else xs

    def cell_key(self, train: bool) -> Key | None:
        """Returns a key for a cell's own dropout, if there is one."""
        return self.make_rng("recurrent") if train and self.has_rng("recurrent") else None


class DecoderWeights(NamedTuple):
    """Weights that the steps of a decoder use: its prepared ones, with the memory, the writer's embedding `[V, E]`,
    and the output layer, `kernel [H, V]` and `bias [V]`."""

    decoder: Weights
    embedding: Array
    kernel: Array
    bias: Array
