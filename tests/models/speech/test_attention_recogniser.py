"""The joint loss beside its two parts, each computed by itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, AttentionCell, Bidirectional, Dense, EncoderDecoder, Stacked, TokenWriter, ctc_loss
from models.readers import FrameReader
from models.speech.attention_recogniser import AttentionRecogniser, ended

pytestmark = pytest.mark.usefixtures("quick_compilation")


def model(share: float, end: int = 0) -> AttentionRecogniser:
    decoder = Stacked((AttentionCell(GRU(3), memory_size=8), Dense(5)))
    writer = TokenWriter(6, 5, end=end, tied=True)
    return AttentionRecogniser(
        Bidirectional(GRU(4)), decoder, FrameReader(2), writer, bridge="mean", share=share
    )


RNG = np.random.default_rng(0)
INPUTS = jnp.asarray(RNG.normal(size=(7, 3, 2)), jnp.float32)
MASK = jnp.arange(7)[:, None] < jnp.array([7, 5, 0])[None]
LABELS = jnp.asarray(RNG.integers(1, 6, (3, 3)))
LABEL_MASK = jnp.arange(3)[:, None] < jnp.array([3, 2, 0])[None]


@pytest.mark.full
def test_the_joint_loss_is_the_weighted_sum_of_both() -> None:
    joint = model(0.3)
    params = jax.jit(joint.init)(jax.random.key(0), INPUTS, mask=MASK)
    masks = {"mask": MASK, "label_mask": LABEL_MASK, "train": False}

    def label_loss(model: AttentionRecogniser, params: Any) -> Any:
        return jax.jit(lambda p: model.apply(p, INPUTS, LABELS, method="label_loss", **masks))(params)

    total, count = label_loss(joint, params)
    targets, target_mask = ended(LABELS, LABEL_MASK)
    np.testing.assert_array_equal(target_mask.sum(axis=0), [4, 3, 0])
    assert not np.asarray(targets)[[3, 2, 0], [0, 1, 2]].any()
    alone = EncoderDecoder(joint.encoder, joint.decoder, joint.reader, joint.writer, bridge="mean")
    own = {"params": {name: part for name, part in params["params"].items() if name != "ctc"}}
    written, _ = jax.jit(
        lambda p: alone.apply(
            p, INPUTS, targets, mask=MASK, target_mask=target_mask, train=False, method="loss"
        )
    )(own)
    encoded: Any = jax.jit(lambda p: alone.apply(p, INPUTS, mask=MASK))(own)
    values = encoded.memory.values
    logits = values @ params["params"]["ctc"]["kernel"] + params["params"]["ctc"]["bias"][None, None]
    frames = ctc_loss(logits, LABELS, mask=MASK, label_mask=LABEL_MASK)
    np.testing.assert_allclose(total, 0.7 * written + 0.3 * frames[:2].sum(), rtol=1e-5)
    assert count == 5
    total, _ = label_loss(model(0.0), own)
    np.testing.assert_allclose(total, written, rtol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    for net, said in ((model(1.0), "share is 1.0"), (model(0.3, end=2), "end mark is 2: it must be 0")):
        with pytest.raises(ValueError, match=said):
            jax.eval_shape(net.init, jax.random.key(0), INPUTS)
    with pytest.raises(ValueError, match="frames have 3 numbers, but the reader takes 2"):
        jax.eval_shape(model(0.0).init, jax.random.key(0), jnp.zeros((4, 1, 3)))
    params = jax.eval_shape(model(0.0).init, jax.random.key(0), INPUTS)
    with pytest.raises(ValueError, match="wasn't trained by CTC"):
        jax.eval_shape(lambda p: model(0.0).apply(p, INPUTS, method="frame_logits"), params)
