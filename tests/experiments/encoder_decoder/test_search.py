"""Searching batches of sources: one hypothesis list a sentence, in order, whatever its batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import PairExample, held_out_pairs
from experiments.encoder_decoder.objective import PairEvaluation, PairLoss
from experiments.encoder_decoder.search import SearchConfig, search_targets
from experiments.encoder_decoder.systems import NAMES, ModelConfig, System
from experiments.translation.alignment import source_attention
from models import EncoderDecoder
from models.cell import Params

END, TYPES = 1, 12


def build(system: System) -> tuple[EncoderDecoder, Params]:
    model = ModelConfig(hidden_size=6, transformer="transformer(layers=1, heads=1)", tied=False).build(
        system, TYPES, TYPES, END
    )
    ids = jnp.ones((3, 2), jnp.int32)
    params = model.init(jax.random.key(0), ids)
    return model, jax.tree.map(lambda leaf: 3 * leaf, params)  # so that it is sure of something


def examples(count: int) -> list[PairExample]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 6, (count, 2))
    sides = [[np.append(rng.integers(2, TYPES, n), END).astype(np.int32) for n in pair] for pair in lengths]
    return [PairExample(*pair) for pair in sides]


def test_a_sentence_is_translated_alike_in_any_batch() -> None:
    model, params = build("attention")
    search = SearchConfig(width=3)
    found = []
    for rows in (5, 2):
        held = held_out_pairs(examples(5), batch_size=rows, bounds=[(6, 6)])
        found.append(held.restore_order(search_targets(model, params, held.batches, search, 2)))
    for one, other in zip(*found, strict=True):
        assert [hypothesis.ids for hypothesis in one] == [hypothesis.ids for hypothesis in other]
        assert END not in one[0].ids
        scores = [hypothesis.normalised for hypothesis in one]
        assert scores == sorted(scores, reverse=True)
        np.testing.assert_allclose(one[0].score, other[0].score, rtol=1e-5)


@pytest.mark.parametrize(
    "system",
    [name if name != "transformer" else pytest.param(name, marks=pytest.mark.full) for name in NAMES],
)
def test_losses_and_attention(system: System) -> None:
    """Smoothing and sampled inputs change the training loss, not the evaluation; weights of attention sum to 1."""
    model, params = build(system)
    (batch,) = held_out_pairs(examples(4), batch_size=4, bounds=[(6, 6)]).batches
    key = jax.random.key(1)
    losses = [
        PairLoss(model, smoothing, sampled)(params, (), batch, key)[0]
        for smoothing, sampled in ((0.0, 0.0), (0.1, 0.0), (0.0, 0.9))
    ]
    evaluated = PairEvaluation(model)(params, batch)["cross_entropy"]
    np.testing.assert_allclose(losses[0], evaluated, rtol=1e-5)
    assert all(abs(loss[0] - losses[0][0]) > 1e-3 for loss in losses[1:])
    assert all(loss[1] == batch.target_mask.sum() for loss in losses)
    pairs = [(example.inputs, example.targets) for example in examples(2)]
    for (source, target), maps in zip(pairs, source_attention(model, params, pairs), strict=True):
        assert bool(maps) == (system in ("attention", "transformer"))
        for weights in maps.values():
            assert weights.shape[1:] == (len(target), len(source))
            np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
