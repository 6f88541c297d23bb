"""The benchmark of a translation model's training step does one and the same work on every side."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.report import translation
from benchmarks.translation import END, SIZES, STEPS, Size, V, our_model, pairs, weights


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_pairs_end_with_the_end_mark_and_are_padded(size: Size) -> None:
    drawn = pairs(size)
    for ids, mask, length in ((drawn.inputs, drawn.mask, size.L), (drawn.targets, drawn.target_mask, size.T)):
        lengths = mask.sum(axis=1)
        assert lengths.min() >= 0.75 * length
        assert lengths.max() == length
        assert (mask == (np.arange(length)[:, None] < lengths[:, None])).all()
        last = np.take_along_axis(ids, lengths[:, None] - 1, axis=1)
        assert (last == END).all()
        assert ((ids > 0) == mask).all()
        assert ids.max() < V


def test_our_parameters_are_all_of_the_weights() -> None:
    """The model takes every number drawn, but the reset and update gates' second biases, which are added to the
    first."""
    model, params = our_model()
    ids = jnp.ones((2, 1), jnp.int32)
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), ids, targets=ids))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == jax.tree.map(lambda leaf: leaf.shape, wanted)
    drawn = sum(array.size for array in weights().values())
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == drawn - 3 * 2 * 256


@pytest.mark.full
def test_sides_agree() -> None:
    """Real processes: from the same weights the same losses, PyTorch's too where it is installed, or `measure`
    raises."""
    size = dataclasses.replace(SIZES[0], L=5, T=6, steps=3)
    rows = STEPS.measure(say=lambda *_, **__: None, rounds=1, sizes=(size,))
    sides = STEPS.installed()
    assert [row["side"] for row in rows] == sides
    for row in rows:
        assert row["tokens_per_second"] == pytest.approx(
            pairs(size).target_mask.sum() / 3 / row["quartiles"][1]
        )
        assert row["apart"] < 1e-3
    assert len(translation(rows)) == 4 + len(sides)
