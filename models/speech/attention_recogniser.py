"""An encoder–decoder that writes labels of frames, whose encoder may be trained by CTC too."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from models.cell import Array, Key, Params
from models.decoding.ctc import ctc_loss
from models.encoder_decoder import EncoderDecoder
from models.initializers import Glorot
from models.recurrence.unroll import output_size


class AttentionRecogniser(EncoderDecoder):
    """Writes labels with attention to frames, and with a `share` λ above 0 by CTC from the encoder alone:

        loss = (1 − λ) Σ_t −ln p(w_t | w_1 … w_{t−1}, m) + λ · CTC(m V + c)

    (Kim, Hori & Watanabe 2017.) Both have the same K classes: for the decoder class 0 is the end mark, for CTC
    blank. The parts are those of an `EncoderDecoder` with a `FrameReader`; its writer's end mark is 0.

        model = AttentionRecogniser(
            Bidirectional(LSTM(128)), Stacked((AttentionCell(GRU(128), memory_size=256), Dense(128))),
            FrameReader(80), TokenWriter(29, 128), bridge="mean", share=0.3,
        )
        total, count = model.apply(params, inputs, labels, mask=mask, label_mask=label_mask, method="label_loss")

    Parameters: those of an `EncoderDecoder`; with a share `ctc`, `kernel [M, K]` and `bias [K]`.
    """

    share: float = 0.0

    def setup(self) -> None:
        super().setup()
        if not 0 <= self.share < 1:
            raise ValueError(f"share is {self.share}: it must be at least 0 and below 1")
        if self.writer.end != 0:
            raise ValueError(f"the writer's end mark is {self.writer.end}: it must be 0, where CTC has blank")
        if self.share:
            size = output_size(self.encoder, self.own("encoder"), self.reader.size, "the encoder")
            self.param("ctc", init_ctc, size, self.writer.vocabulary_size)

    def label_loss(
        self,
        inputs: Float[Array, "L *batch D"],
        labels: Int[Array, "N *batch"],
        *,
        mask: Bool[Array, "L *batch"] | None = None,
        label_mask: Bool[Array, "N *batch"] | None = None,
        train: bool = True,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Computes the sum of the loss, in nats, and the number of labels, which have no end mark yet. Labels that
        no path of CTC has, and examples without any, count nothing there."""
        label_mask = jnp.ones(labels.shape, bool) if label_mask is None else label_mask
        encoded = self.encode(inputs, mask=mask, train=train)
        targets, target_mask = ended(labels, label_mask)
        total, _ = self.loss_of(encoded, targets, target_mask=target_mask, train=train)
        count = jnp.sum(label_mask, dtype=total.dtype)
        if not self.share:
            return total, count
        losses = ctc_loss(self.frame_logits(encoded.memory.values), labels, mask=mask, label_mask=label_mask)
        counted = jnp.isfinite(losses) & jnp.any(label_mask, axis=0)
        return (1 - self.share) * total + self.share * jnp.sum(jnp.where(counted, losses, 0)), count

    def frame_logits(self, values: Float[Array, "L *batch M"]) -> Float[Array, "L *batch K"]:
        """Computes CTC's logits of what the encoder made of the frames. Raises ValueError without a share."""
        if not self.share:
            raise ValueError("share is 0: the encoder wasn't trained by CTC")
        ctc: Any = self.own("ctc")
        return values @ ctc["kernel"] + ctc["bias"].reshape((1,) * (values.ndim - 1) + (-1,))


def init_ctc(key: Key, size: int, classes: int) -> Params:
    """Returns the parameters of CTC's output layer."""
    return {"kernel": Glorot()(key, (size, classes)), "bias": jnp.zeros(classes)}


def ended(
    labels: Int[Array, "N *batch"], mask: Bool[Array, "N *batch"]
) -> tuple[Int[Array, "N1 *batch"], Bool[Array, "N1 *batch"]]:
    """Returns labels with the end mark 0 after them, N + 1 places, and their mask. Examples without labels stay
    empty. Labels lie first in their order: the mask is True from the front on."""
    none = jnp.zeros_like(labels[:1])
    targets = jnp.concatenate([jnp.where(mask, labels, 0), none])
    return targets, jnp.concatenate([jnp.any(mask, axis=0)[None], mask])
