"""The benchmark of a tagger's training step does one and the same work on every side."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.report import tagging
from benchmarks.tagging import SIZES, STEPS, Size, V, our_model, sentences, weights


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_sentences_are_padded(size: Size) -> None:
    drawn = sentences(size)
    lengths = drawn.mask.sum(axis=1)
    assert lengths.min() > size.T / 2
    assert lengths.max() == size.T
    assert (drawn.mask == (np.arange(size.T)[:, None] < lengths[:, None])).all()
    assert ((drawn.words > 0) == drawn.mask).all()
    assert drawn.words.max() < V


def test_our_parameters_are_all_of_the_weights() -> None:
    """The model takes every number drawn; the second biases of an LSTM are added to the first."""
    model, params = our_model()
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((2, 1, 1), jnp.int32)))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == jax.tree.map(lambda leaf: leaf.shape, wanted)
    drawn = sum(array.size for array in weights().values())
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == drawn - 2 * 4 * 128


@pytest.mark.full
def test_sides_agree() -> None:
    """Real processes: from the same weights the same losses, PyTorch's too where it is installed, or `measure`
    raises."""
    size = dataclasses.replace(SIZES[0], T=6, steps=3)
    rows = STEPS.measure(say=lambda *_, **__: None, rounds=1, sizes=(size,))
    sides = STEPS.installed()
    assert [row["side"] for row in rows] == sides
    for row in rows:
        assert row["tokens_per_second"] == pytest.approx(sentences(size).mask.sum() / 3 / row["quartiles"][1])
        assert row["apart"] < 1e-3
    assert len(tagging(rows)) == 4 + len(sides)
