"""The benchmarks of speech do one and the same work on every side."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from benchmarks.report import ctc as ctc_section
from benchmarks.report import recogniser as recogniser_section
from benchmarks.speech import ctc, recogniser


def test_our_parameters_are_all_of_the_weights() -> None:
    """The model takes every number drawn; the second biases of an LSTM are added to the first."""
    model, params = recogniser.our_model()
    wanted = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.ones((2, 1, recogniser.D))))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == jax.tree.map(lambda leaf: leaf.shape, wanted)
    drawn = sum(array.size for array in recogniser.weights().values())
    second = 2 * recogniser.DEPTH * 4 * recogniser.H
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == drawn - second


@pytest.mark.full
@pytest.mark.parametrize(("module", "section"), [(ctc, ctc_section), (recogniser, recogniser_section)])
def test_sides_agree(module: Any, section: Any) -> None:
    """Real processes: from the same numbers the same losses, PyTorch's too where it is installed, or `measure`
    raises."""
    size = dataclasses.replace(module.SIZES[0], T=20, B=4, steps=2)
    rows = module.STEPS.measure(say=lambda *_, **__: None, rounds=1, sizes=(size,))
    sides = module.STEPS.installed()
    assert [row["side"] for row in rows] == sides
    assert all(row["apart"] < 1e-3 for row in rows)
    assert len(section(rows)) == 4 + len(sides)
