"""Losses that aren't finite, by each policy: the state, the data and the reports that follow."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.toy import ADAM, LOOP, ToyBatches, bits, toy_state, train_toy
from train import (
    Checkpoints,
    LoopConfig,
    NonFinite,
    OptimizerConfig,
    Result,
    StopRequest,
    create_state,
    fit,
    make_schedule,
    nonfinite_counts,
    read_metrics,
)

SKIP = replace(LOOP, nonfinite="skip", log_every=1)


def untimed(folder: Path) -> list[dict]:
    """The metrics without the clock, NaN as a word, for it equals nothing."""
    return [{k: "nan" if v != v else v for k, v in r.items() if k != "seconds"} for r in read_metrics(folder)]


def reports(folder: Path) -> list[dict]:
    return json.loads((folder / "nonfinite.json").read_text())


# --- skip


@pytest.fixture(scope="module")
def skipped(tmp_path_factory) -> tuple[Path, Result]:
    """90 steps whose 48th batch is NaN."""
    folder = tmp_path_factory.mktemp("skipped")
    return folder, train_toy(folder, SKIP, batches=ToyBatches(broken=47))


def test_skip_leaves_everything_but_the_count(skipped):
    folder, result = skipped
    assert (result.step, result.skipped, result.rollbacks, result.finished) == (90, 1, 0, True)
    train = {r["step"]: r for r in read_metrics(folder) if r["split"] == "train"}
    assert [step for step, r in train.items() if not np.isfinite(r["loss"])] == [48]
    # Step 49 begins with the parameters of step 47; the learning rate is that of step 49 all the same.
    assert abs(train[49]["param_norm"] - train[47]["param_norm"]) <= train[49]["update_norm"] * 1.001
    schedule = make_schedule(ADAM)
    for step in (47, 49, 90):
        assert train[step]["learning_rate"] == pytest.approx(float(np.asarray(schedule(step - 1))), rel=1e-6)
    # What the optimizer has counted: Adam's updates 89, the schedule's steps 90.
    counts = [int(leaf) for leaf in jax.tree.leaves(result.state.opt_state) if leaf.shape == ()]
    assert sorted(counts) == [89, 90]
    assert nonfinite_counts(folder) == {"skipped": 1}
    (report,) = reports(folder)
    assert (report["step"], report["done"], report["goes_on_from"]) == (48, "skipped this batch", 48)
    assert (report["loss"], report["batch"]) == ("nan", 47)
    assert report["parameters"] == {"params/v": "nan", "params/w": "nan"}


def test_a_skipped_batch_never_was(tmp_path):
    """One step whose batch is broken, then a sound one: the update is that of the sound one alone."""

    class Second(ToyBatches):
        def take(self, count):
            self.index += 1
            batch = super().take(count)
            self.index -= 1
            return batch

    plain = OptimizerConfig(name="sgd", learning_rate=0.1)
    fixed = replace(SKIP, steps=2)

    def noiseless(params, carry, batch, key):
        loss = jnp.sum((batch[0] @ params["w"] @ params["v"] - batch[1]) ** 2)
        return (loss, jnp.ones(())), (carry, {})

    def train(folder, batches, config):
        state = toy_state(plain)
        return fit(
            state, loss_fn=noiseless, optimizer=plain, batches=batches, config=config, folder=folder
        ).state.params

    both = train(tmp_path / "both", ToyBatches(broken=0), fixed)
    alone = train(tmp_path / "alone", Second(), replace(fixed, steps=1))
    assert bits(both) == bits(alone)


@pytest.mark.parametrize("at", [21, 48, 63])
def test_skip_and_resume(skipped, tmp_path, at):
    stop = StopRequest()

    def hook(step, state):
        stop.requested = step >= min(at, 47)  # a step that is skipped asks no hook
        return {}

    if at == 63:
        hook = lambda step, state: setattr(stop, "requested", step == 63) or {}  # noqa: E731
    batches = ToyBatches(broken=47)
    first = train_toy(tmp_path, SKIP, on_log=hook, stop=stop, batches=batches)
    assert not first.finished
    second = train_toy(tmp_path, SKIP, resume=True, batches=ToyBatches(broken=47))
    folder, result = skipped
    assert bits(second.state) == bits(result.state)
    assert second.skipped == 1
    assert untimed(tmp_path) == untimed(folder)
    assert reports(tmp_path) == reports(folder)


def test_a_run_that_skips_everything_ends(tmp_path):
    """And reports the first three."""

    class Broken(ToyBatches):
        def take(self, count):
            x, y = super().take(count)
            return x, np.full_like(y, np.nan)

    result = train_toy(tmp_path, replace(SKIP, steps=15), batches=Broken())
    assert (result.step, result.skipped) == (15, 15)
    assert bits(result.state.params) == bits(toy_state().params)
    assert len(reports(tmp_path)) == 3
    assert nonfinite_counts(tmp_path) == {"skipped": 15}


# --- rollback: L = w², w ← (1 − 2η) w


def square(params, carry, batch, key):
    return (params["w"] ** 2, jnp.ones(())), (carry, {})


TOO_FAST = OptimizerConfig(name="sgd", learning_rate=3.0, clip="none")
BACK = LoopConfig(steps=90, log_every=1, eval_every=90, save_every=10, chunk=5, nonfinite="rollback")


def descend(folder: Path, config: LoopConfig = BACK, **options) -> Result:
    state = create_state({"w": jnp.ones(())}, TOO_FAST, jax.random.key(0))
    given: dict[str, Any] = {"batches": ToyBatches()} | options
    return fit(state, loss_fn=square, optimizer=TOO_FAST, config=config, folder=folder, **given)


# The gradient 2w has an infinite square beyond |w| = 2^63. At η = 3 w grows by −5 a step, and 5^27 < 2^63 < 5^28:
# step 29 fails. Back at step 20, at η = 1.5, it grows by −2: 5^20 2^k is beyond 2^63 at k = 17, so step 38 fails.
# Back at step 30, η = 0.75 shrinks it by −½.
EXPECTED = [
    {"step": 20, "split": "nonfinite", "rollbacks": 1, "failed": 29, "learning_rate": 1.5},
    {"step": 30, "split": "nonfinite", "rollbacks": 2, "failed": 38, "learning_rate": 0.75},
]


@pytest.fixture(scope="module")
def back(tmp_path_factory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("back")
    return folder, descend(folder)


def test_rollback_finds_a_rate_that_works(back):
    folder, result = back
    assert (result.step, result.rollbacks, result.skipped) == (90, 2, 0)
    assert float(result.state.params["w"]) == pytest.approx(5.0**20 * 2.0**10 * 0.5**60, rel=1e-5)
    records = untimed(folder)
    assert [r for r in records if r["split"] == "nonfinite"] == EXPECTED
    assert nonfinite_counts(folder) == {"rollbacks": 2}
    # Of the steps given up no metrics are left, and each is there once.
    train = [r for r in records if r["split"] == "train"]
    assert [r["step"] for r in train] == list(range(1, 91))
    rates = [r["learning_rate"] for r in train]
    assert rates == [3.0] * 20 + [1.5] * 10 + [0.75] * 60
    assert [(r["step"], r["goes_on_from"], r["done"]) for r in reports(folder)] == [
        (29, 20, "went back to step 20, learning rate 1.5"),
        (38, 30, "went back to step 30, learning rate 0.75"),
    ]


class Interrupted(Exception):
    """As a kill would: nothing is saved."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [15, 26, *(pytest.param(at, marks=pytest.mark.full) for at in (3, 24, 34, 50))]
)
def test_rollback_and_kill(back, tmp_path, at):
    """Before the first rollback, between, just after them, while steps are done again: the same bits in the end."""
    seen = []

    def hook(step, state):
        seen.append(step)
        if seen.count(step) == (2 if at in (24, 34) else 1) and step == at:
            raise Interrupted
        return {}

    with pytest.raises(Interrupted):
        descend(tmp_path, on_log=hook)
    second = descend(tmp_path, resume=True)
    folder, result = back
    assert bits(second.state) == bits(result.state)
    assert second.rollbacks == 2
    assert untimed(tmp_path) == untimed(folder)
    assert reports(tmp_path) == reports(folder)


def test_rollback_is_tried_so_often_and_no_more(tmp_path):
    with pytest.raises(
        NonFinite, match=r"step 38: .*training stopped, after a rollback, and the state before it"
    ):
        descend(tmp_path, replace(BACK, rollbacks=1))
    assert Checkpoints(tmp_path / "checkpoints").steps()[-1] == 37
    assert [r["done"] for r in reports(tmp_path)] == ["went back to step 20, learning rate 1.5", "stopped"]


def test_back_to_before_the_state_at_fault(tmp_path):
    """A checkpoint right before the step that fails is no good one, and later ones go; nor is that of a stop, for a
    run that isn't stopped hasn't it."""
    config, stop = replace(BACK, save_every=14), StopRequest()
    whole = descend(tmp_path / "whole", config)
    first, *_ = (r for r in untimed(tmp_path / "whole") if r["split"] == "nonfinite")
    assert (first["failed"], first["step"]) == (29, 14)
    assert whole.finished
    stopping = lambda step, state: setattr(stop, "requested", step == 20) or {}  # noqa: E731
    assert descend(tmp_path / "part", config, stop=stop, on_log=stopping).step == 20
    assert bits(descend(tmp_path / "part", config, resume=True).state) == bits(whole.state)
    assert untimed(tmp_path / "part") == untimed(tmp_path / "whole")


def test_a_bad_batch_can_only_stop_it(tmp_path):
    with pytest.raises(NonFinite, match=r"training stopped, after 2 rollbacks,"):
        train_toy(tmp_path, replace(LOOP, nonfinite="rollback", rollbacks=2), batches=ToyBatches(broken=47))
    assert nonfinite_counts(tmp_path) == {"rollbacks": 2}


# --- what is asked and said


def test_what_is_found_is_told(tmp_path):
    """`explain` sees the state and the batch at fault; what it says stands in the error and in the report."""

    def diagnose(state, batch):
        assert int(state.step) == 47
        assert np.isnan(batch[1]).all()
        return {"sentence": "the targets of this batch are NaN", "quantity": "target"}

    with pytest.raises(NonFinite, match="the targets of this batch are NaN; training stopped and"):
        train_toy(tmp_path, batches=ToyBatches(broken=47), diagnose=diagnose)
    (report,) = reports(tmp_path)
    assert report["first"]["quantity"] == "target"
    assert (report["step"], report["done"], report["goes_on_from"]) == (48, "stopped", None)
    # Once training has gone on, nothing is left of it.
    train_toy(tmp_path, resume=True)
    assert not (tmp_path / "nonfinite.json").exists()
