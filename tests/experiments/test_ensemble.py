"""Nets side by side: each is the net that the train step of one makes, and none disturbs the others."""

from functools import partial

import jax
import numpy as np
import pytest

from data import adding, split_key
from experiments.ensemble import EnsembleConfig, held_out, train_side_by_side
from experiments.objective import Loss, regression
from experiments.problems import threefry
from models import Elman, SequenceClassifier
from train import OptimizerConfig, create_state, train_step

TASK = partial(adding, length=5)
MODEL = SequenceClassifier(Elman(3), 1)


def config(name: str = "momentum", clip: str = "global_norm", steps: int = 4) -> EnsembleConfig:
    optimizer = OptimizerConfig(name, 1.0, clip=clip, clip_at=0.2)  # type: ignore
    return EnsembleConfig(MODEL, regression, TASK, optimizer, steps, 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("momentum", marks=pytest.mark.full), "adam"])
def test_the_same_as_train_step(name: str) -> None:
    """Parameters, losses, norms, what was clipped, step by step; a net at another rate stands beside it."""
    found = train_side_by_side(config(name), np.array([3, 5]), np.array([0.1, 0.02]))
    data = split_key(threefry(5), "train")
    first = TASK(data, 6)
    params = MODEL.init(jax.random.fold_in(jax.random.key(5), 1), first.inputs, mask=first.mask)
    optimizer = OptimizerConfig(name, 0.02, clip="global_norm", clip_at=0.2)  # type: ignore
    state = create_state(params, optimizer, jax.random.key(5))
    one_step = jax.jit(partial(train_step, loss_fn=Loss(MODEL, regression), optimizer=optimizer))
    for step in range(4):
        state, metrics = one_step(state, TASK(jax.random.fold_in(data, step), 6))
        np.testing.assert_allclose(found.loss[1, step], metrics["loss"], rtol=1e-5)
        np.testing.assert_allclose(found.norm[1, step], metrics["grad_norm"], rtol=1e-4)
        assert found.clipped[1, step] == (float(metrics["grad_norm"]) > 0.2)
    for one, other in zip(jax.tree.leaves(found.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(one[1], other, rtol=1e-4, atol=1e-6)
    assert found.steps[1] == 4


@pytest.mark.slow
def test_a_net_that_runs_away_stands_still_and_the_others_go_on() -> None:
    """At rate 1e30 a linear net overflows; the same net beside it is what it is alone."""
    model = SequenceClassifier(Elman(3, activation="identity"), 1)
    runaway = EnsembleConfig(model, regression, TASK, OptimizerConfig("sgd", 1.0, clip="none"), 6, 6)
    both = train_side_by_side(runaway, np.array([1, 1]), np.array([1e30, 0.01]))
    alone = train_side_by_side(runaway, np.array([1]), np.array([0.01]))
    assert both.steps[0] < 6
    assert np.isnan(both.loss[0, both.steps[0] :]).all()
    assert not both.clipped[0].any()
    assert all(np.isfinite(leaf[0]).all() for leaf in jax.tree.leaves(both.params))
    assert both.steps[1] == 6
    for one, other in zip(jax.tree.leaves(both.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_array_equal(one[1], other[0])


@pytest.mark.slow
def test_held_out() -> None:
    """The mean square error of each net on one batch that no seed is trained on, by hand."""
    trained = train_side_by_side(config(), np.array([0, 1]), np.array([0.1, 0.1]))
    found = held_out(config(), trained.params, 50)
    batch = TASK(split_key(threefry(0), "test"), 50)
    for i in range(2):
        answers = MODEL.apply(jax.tree.map(lambda leaf, i=i: leaf[i], trained.params), batch.inputs)
        error = np.mean((np.asarray(answers)[:, 0] - np.asarray(batch.targets)) ** 2)
        np.testing.assert_allclose(found["loss"][i], error, rtol=1e-5)
        np.testing.assert_allclose(found["mean_square_error"][i], error, rtol=1e-5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="nets side by side have constant rates"):
        EnsembleConfig(MODEL, regression, TASK, OptimizerConfig(schedule="cosine", decay_steps=3), 1, 1)
