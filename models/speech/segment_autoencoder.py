"""One vector of a stretch of speech, and its frames back from it (Chung et al. 2016, Audio Word2Vec)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Bool, Float

from models.bridge import carried, carried_sizes, check_fit, cross, init_bridge, placed
from models.cell import Array, Cell, Key, Params, State, check_at_least
from models.initializers import Glorot
from models.layers.heads import packed, project
from models.layers.layer import check_causal
from models.recurrence.methods import Method
from models.recurrence.scan import keep_valid, match_varying_axes
from models.recurrence.unroll import output_size, unroll


class SegmentAutoencoder(nn.Module):
    """Reads frames x_1 … x_T into one vector and writes them again from it, the last frame first:

        z = bridge(encoder's last state after x_1 … x_T)        s_{T+1} = z,  x̂_{T+1} = 0
        y_t, s_t = decoder(s_{t+1}, x̂_{t+1})        x̂_t = y_t W + b

    (Srivastava, Mansimov & Salakhutdinov 2015; Chung et al. 2016.) The decoder runs freely, in training too: it
    reads its own frame, never the true one, so that all it knows of the segment is z and the number of frames. The
    order is reversed, since the first frames to be written are then the last that were read; with `reverse=False`
    the first frame is written first.

    `encoder` is any cell or layer, `decoder` any causal one. Frames are `[T, *batch, D]`, D = `size`; nothing of a
    masked one reaches a value or a gradient. Parameters: `encoder`, `decoder`, `bridge` (`models.bridge`), and
    `writer`, with `kernel [H, D]` and `bias [D]`.

        model = SegmentAutoencoder(GRU(128), GRU(128), size=80)
        params = model.init(key, frames, mask=mask)
        rebuilt = model.apply(params, frames, mask=mask)                              # [T, B, 80]
        vectors = model.apply(params, frames, mask=mask, method="encode")             # [B, 128]

    Raises ValueError if the parts don't fit one another.
    """

    encoder: Cell
    decoder: Cell
    size: int
    reverse: bool = True
    method: Method = "auto"

    def setup(self) -> None:
        check_at_least(1, size=self.size)
        check_causal(self.decoder)
        encoder = self.param("encoder", lambda key: self.encoder.init(key, self.size))
        decoder = self.param("decoder", lambda key: self.decoder.init(key, self.size))
        check_fit(
            self.encoder, self.decoder, output_size(self.encoder, encoder, self.size, "the encoder"), "state"
        )
        given, wanted = carried_sizes(self.encoder, encoder), carried_sizes(self.decoder, decoder)
        self.param("bridge", init_bridge, "state", given, wanted)
        self.param("writer", self.init_writer, output_size(self.decoder, decoder, self.size, "the decoder"))

    def init_writer(self, key: Key, hidden_size: int) -> Params:
        """Returns the parameters of the output layer."""
        return packed(Glorot(), key, hidden_size, self.size, 1)

    def own(self, part: str) -> Params:
        """Returns the parameters of a part."""
        return self.get_variable("params", part)

    def __call__(
        self,
        inputs: Float[Array, "T *batch D"],
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Float[Array, "T *batch D"]:
        """Returns the frames written again, each at its own step; masked ones are zero."""
        mask = jnp.ones(inputs.shape[:-1], bool) if mask is None else jnp.asarray(mask)
        return self.decode(self.encode(inputs, mask=mask, train=train), mask)

    def encode(
        self,
        inputs: Float[Array, "T *batch D"],
        *,
        mask: Bool[Array, "T *batch"] | None = None,
        train: bool = False,
    ) -> Float[Array, "*batch S"]:
        """Returns the vector of each segment: all that the decoder starts from, side by side."""
        key = self.make_rng("recurrent") if train and self.has_rng("recurrent") else None
        options: Any = {"mask": mask, "method": self.method, "train": train, "key": key}
        final, _ = unroll(self.encoder, self.own("encoder"), inputs, **options)
        axes = inputs.ndim - 2
        start = cross(self.own("bridge"), carried(final, axes), self.first(inputs.shape[1:-1]), axes)
        return jnp.concatenate(carried(start, axes), axis=-1)

    def first(self, batch_shape: tuple[int, ...]) -> State:
        """Returns the decoder's own initial state."""
        return self.decoder.initial_state(self.own("decoder"), batch_shape)

    def decode(
        self, vectors: Float[Array, "*batch S"], mask: Bool[Array, "T *batch"]
    ) -> Float[Array, "T *batch D"]:
        """Returns the frames of each vector, as many as `mask` has valid steps, running freely."""
        batch_shape, decoder, writer = vectors.shape[:-1], self.own("decoder"), self.own("writer")
        sizes = carried_sizes(self.decoder, decoder)
        parts = [vectors[..., sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
        weights = self.decoder.prepare(decoder, batch_shape=batch_shape)
        start = placed(self.first(batch_shape), parts), jnp.zeros((*batch_shape, self.size), vectors.dtype)
        weights, writer, start, mask = match_varying_axes((weights, writer, start, mask))

        def write(carry: tuple[State, Array], valid: Array) -> tuple[tuple[State, Array], Array]:
            state, before = carry
            state, y = self.decoder.step(weights, state, self.decoder.drive(weights, before))
            frame = project(writer, y)
            return keep_valid(valid, (state, frame), carry, frame)

        return jax.lax.scan(write, start, mask, reverse=self.reverse)[1]
