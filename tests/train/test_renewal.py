"""Scores computed on the host, and training data made anew from the parameters: stopped, resumed, rolled back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.train.toy import ADAM, LOOP, ToyBatches, bits, eval_fn, loss_fn, toy_batch, toy_state, train_toy
from train import LoopConfig, OptimizerConfig, Renewal, Result, StopRequest, fit, read_metrics, train_step

# --- scores on the host


def best_of(evaluation):
    """The score of an evaluation that has one: higher is better."""
    return -evaluation["decoded"] if "decoded" in evaluation else None


@pytest.mark.parametrize("at", [25, 40, 55])
def test_plateau_of_a_score_taken_at_every_other_evaluation(tmp_path, at):
    """Evaluations without it count neither for nor against the rate, and a resumed run sees those of before."""
    optimizer = OptimizerConfig(learning_rate=1e-2, schedule="validation_plateau", patience=2, decay_rate=0.5)
    config = replace(LOOP, steps=80, eval_every=5, log_every=5)
    options = {"score": lambda params: {"decoded": 1.0}, "score_every": 2}

    def train(folder: Path, config: LoopConfig, **options: Any) -> Result:
        validation = [toy_batch(10_000)]
        settings = {"batches": ToyBatches(), "eval_fn": eval_fn, "validation": validation} | options
        state = toy_state(optimizer)
        return fit(state, loss_fn=loss_fn, optimizer=optimizer, config=config, folder=folder, **settings)

    whole = train(tmp_path / "whole", config, **options, selection=best_of)
    records = read_metrics(tmp_path / "whole")
    rates = {r["step"]: r["learning_rate"] for r in records if r["split"] == "train"}
    scored = [r["step"] for r in records if r["split"] == "validation" and "decoded" in r]
    assert scored == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    # The first score is the best; then the rate is halved at every second one.
    assert [rates[step] / 0.01 for step in (20, 25, 40, 45, 60, 65)] == pytest.approx(
        [1, 0.5, 0.5, 0.25, 0.25, 0.125]
    )
    assert whole.best == (0, -1.0)
    stop = StopRequest()

    def stopping(step, state):
        stop.requested = step >= at
        return {}

    train(tmp_path / "part", config, **options, selection=best_of, stop=stop, on_log=stopping)
    resumed = train(tmp_path / "part", config, **options, selection=best_of, resume=True)
    assert bits(resumed.state) == bits(whole.state)


def test_an_early_end_is_scored(tmp_path):
    ended = train_toy(
        tmp_path,
        score=lambda params: {"decoded": 0.5},
        score_every=100,
        selection=best_of,
        stop_when=lambda evaluation: True,
    )
    assert (ended.step, ended.evaluation["decoded"]) == (0, 0.5)


# --- data made anew


def stored_renewal(made: dict[int, int], first: dict[int, Any]) -> Renewal:
    """Every 25 steps batches from a place that follows from the parameters; `made` stands for a run's disk."""

    def renewed(params, epoch):
        if epoch not in made:
            made[epoch] = 1000 * epoch + int(1e6 * np.abs(params["w"]).sum()) % 997
            first[epoch] = np.asarray(params["w"])
        batches = ToyBatches()
        batches.index = made[epoch]
        return batches

    def drop_after(epoch):
        for later in [known for known in made if known > epoch]:
            del made[later]

    return Renewal(25, renewed, drop_after)


@pytest.mark.parametrize("at", [25, 35, 50, 63])
def test_data_made_anew_between_epochs(tmp_path, at):
    """Every 25 steps they follow from the parameters of that step; stopped anywhere and resumed, the same bits."""
    made: dict[int, int] = {}
    first: dict[int, Any] = {}
    options = {"renewal": stored_renewal(made, first), "on_log": lambda step, state: {}}
    whole = train_toy(tmp_path / "whole", **options)
    assert sorted(made) == [1, 2, 3]
    stop = StopRequest()

    def stopping(step, state):
        stop.requested = step >= at
        return {}

    config = replace(LOOP, log_every=1)
    stopped = train_toy(tmp_path / "part", config, **(options | {"stop": stop, "on_log": stopping}))
    assert (stopped.step, stopped.finished) == (at, False)
    resumed = train_toy(tmp_path / "part", config, **options, resume=True)
    assert bits(resumed.state) == bits(whole.state)

    # By hand: the same number of steps on the first data, then on the ones made of the parameters there.
    step_of = jax.jit(lambda state, batch: train_step(state, batch, loss_fn=loss_fn, optimizer=ADAM))
    by_hand = toy_state()
    taken = [*range(25), *range(made[1], made[1] + 10)]
    for step, index in enumerate(taken):
        if step == 25:
            np.testing.assert_allclose(by_hand.params["w"], first[1], rtol=1e-5)
        by_hand, _ = step_of(by_hand, toy_batch(index))
    losses = {r["step"]: r["loss"] for r in read_metrics(tmp_path / "part") if r["split"] == "train"}
    _, figures = step_of(by_hand, toy_batch(made[1] + 10))
    np.testing.assert_allclose(losses[36], figures["loss"], rtol=1e-4)


def test_a_rollback_before_an_epoch_makes_its_data_anew(tmp_path):
    """Drops what the abandoned parameters made; those that end the epoch at half the rate are others."""
    made: dict[int, int] = {}
    first: dict[int, Any] = {}
    before: list[int] = []
    renewal = stored_renewal(made, first)

    def drop_after(epoch):
        before.append(made[2])
        renewal.drop_after(epoch)

    class Broken(ToyBatches):
        def take(self, count):
            batch = super().take(count)
            met = made.get(2) is not None and not before and made[2] <= self.index - count
            return jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), batch) if met else batch

    def renewed(params, epoch):
        batches = Broken()
        position = renewal.batches(params, epoch).get_state()
        batches.set_state(position)
        return batches

    config = replace(LOOP, nonfinite="rollback")
    train_toy(tmp_path, config, renewal=Renewal(25, renewed, drop_after))
    assert len(before) == 1
    assert before[0] != made[2]
