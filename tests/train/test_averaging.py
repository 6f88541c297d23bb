"""Averaged SGD, decay on plateaus and decay in stairs, against loops written out in NumPy."""

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.train.toy import LOOP, ToyBatches, eval_fn, toy_batch, toy_state
from tests.train.toy import loss_fn as toy_loss
from train import (
    Checkpoints,
    OptimizerConfig,
    create_state,
    evaluated_params,
    fit,
    make_schedule,
    read_metrics,
)
from train.metrics import SumCount
from train.optimizer.transforms import PlateauWatch
from train.state import TrainState
from train.step import train_chunk
from train.tracking import Tracker


def loss_fn(params: Any, carry: Any, batch: Any, key: Any) -> tuple[SumCount, tuple[Any, dict]]:
    """½ (w − x)² + c, whose gradient is w − x; the loss itself is what the batch says."""
    x, shown = batch
    w = params["w"]
    total = jnp.sum((w - x) ** 2) / 2
    return (total + jax.lax.stop_gradient(shown[0] - total), jnp.ones(())), (carry, {})


def run(config: OptimizerConfig, xs: np.ndarray, shown: np.ndarray | None = None) -> tuple[TrainState, Any]:
    state = create_state({"w": jnp.zeros(1)}, config, jax.random.key(0))
    shown = np.zeros(len(xs)) if shown is None else shown
    batches = (jnp.asarray(xs, jnp.float32)[:, None], jnp.asarray(shown, jnp.float32)[:, None])
    return train_chunk(state, batches, len(xs), loss_fn=loss_fn, optimizer=config)


@pytest.mark.parametrize("start", [0, 3, 7, 99])
def test_average(start: int) -> None:
    """The mean of the parameters after each update from `start` on; the updates are as without it."""
    xs = np.random.default_rng(0).normal(size=8)
    config = OptimizerConfig("sgd", 0.3, clip="none", average_from=start)
    state, _ = run(config, xs)
    w, seen = 0.0, []
    for step, x in enumerate(xs):
        w -= 0.3 * (w - x)
        if step >= start:
            seen.append(w)
    np.testing.assert_allclose(state.params["w"], w, rtol=1e-5)
    np.testing.assert_allclose(evaluated_params(state)["w"], np.mean(seen) if seen else w, rtol=1e-5)


def test_average_begins_with_the_parameters_themselves() -> None:
    """Before `start` there is nothing to average: what is evaluated is what is trained."""
    config = OptimizerConfig("sgd", 0.3, clip="none", average_from=99)
    for steps in (1, 4):
        state, _ = run(config, np.arange(steps) + 1.0)
        np.testing.assert_array_equal(evaluated_params(state)["w"], state.params["w"])


def test_running_averages_are_not_averaged() -> None:
    config = OptimizerConfig("sgd", 0.3, average_from=0)
    params = {"w": jnp.ones(2), "averages": jnp.full(2, 5.0)}
    state = create_state(params, config, jax.random.key(0))
    found = evaluated_params(
        TrainState(state.step, params | {"averages": jnp.zeros(2)}, state.opt_state, (), 0)
    )
    assert found["averages"].tolist() == [0, 0]
    assert found["w"].tolist() == [1, 1]


def test_without_an_average_the_parameters_are_evaluated() -> None:
    state, _ = run(OptimizerConfig("sgd", 0.3), np.ones(3))
    assert evaluated_params(state) is state.params


def test_the_loop_evaluates_the_average(tmp_path: Path) -> None:
    """The loop logs the metric of the average, not of the last parameters; and it is resumed bit for bit."""
    config = OptimizerConfig("sgd", 0.05, average_from=10)
    validation = [toy_batch(10_000)]

    def go(folder: Path, steps: int, resume: bool) -> Any:
        loop = dataclasses.replace(LOOP, steps=steps, eval_every=20)
        return fit(
            toy_state(config), loss_fn=toy_loss, eval_fn=eval_fn, optimizer=config, batches=ToyBatches(),
            validation=validation, config=loop, folder=folder, resume=resume,
        )  # fmt: skip

    whole = go(tmp_path / "whole", 40, False)
    go(tmp_path / "part", 20, False)
    part = go(tmp_path / "part", 40, True)

    def error(params: Any) -> float:
        total, count = eval_fn(params, validation[0])["error"]
        return float(total / count)

    mean = evaluated_params(whole.state)
    assert whole.evaluation["error"] == pytest.approx(error(mean), rel=1e-5)
    assert whole.evaluation["error"] != pytest.approx(error(whole.state.params), rel=1e-5)
    jax.tree.map(np.testing.assert_array_equal, mean, evaluated_params(part.state))


def test_plateau() -> None:
    """The rate falls by the factor once `patience` means of `decay_steps` losses in a row are no new best."""
    shown = np.repeat([4.0, 3, 3, 5, 2, 2, 2], 2)
    shown[1::2] += 1  # the mean of a pair counts
    config = OptimizerConfig(
        "sgd", 0.5, clip="none", schedule="plateau", decay_steps=2, decay_rate=0.1, patience=2
    )
    state, metrics = run(config, np.ones(len(shown)), shown)
    # No new best in the third and fourth mean, hence after the fourth; nor in the sixth and seventh.
    rates = [0.5] * 7 + [0.05] * 6 + [0.005]
    np.testing.assert_allclose(metrics["learning_rate"], rates, rtol=1e-5)
    w = 0.0
    for rate in rates:
        w -= rate * (w - 1)
    np.testing.assert_allclose(state.params["w"], w, rtol=1e-5)


def test_stairs() -> None:
    """Constant for a time, then halved at the end of every so many steps: Zaremba et al.'s."""
    config = OptimizerConfig(
        "sgd", 1.0, schedule="exponential", decay_rate=0.5, decay_steps=10, decay_begin=30, staircase=True
    )
    schedule: Any = make_schedule(config)
    rates = [float(schedule(step)) for step in (0, 29, 39, 40, 49, 50, 61)]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25, 0.125]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "plateau", "decay_steps": 5, "decay_rate": 1.0}, "decay_rate is 1.0; for plateau"),
        ({"schedule": "plateau"}, "decay_steps is 0; for the schedule plateau it must be above 0"),
        ({"patience": 0}, "patience is 0; it must be 1 or more"),
        ({"decay_begin": -1}, "decay_begin is -1; it must be 0 or more"),
        ({"average_from": -1}, "average_from is -1; it must be 0 or more"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**options)


def test_falls() -> None:
    """Each time so many in a row were no better than the best."""
    assert [PlateauWatch(2).update([4.0, 3.0, 3.0, 5.0, 2.0, 2.0, 2.0, 1.0][:n]).falls for n in range(9)] == [
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        2,
    ]
    assert PlateauWatch(1).update([3.0, 2.0, 2.0, 2.0, 2.0]).falls == 3
    assert PlateauWatch(1).update([float("nan"), float("nan"), 1.0]).falls == 2


def test_validation_plateau(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate of each step is what the evaluations before it leave, resumed or not, and the bits are the same; the
    log is read at the first evaluation alone, so that the others cost the same however many there were."""
    read: list[str] = []
    records_of = Tracker.records
    monkeypatch.setattr(Tracker, "records", lambda self, split: read.append(split) or records_of(self, split))
    config = OptimizerConfig(
        "sgd", 0.2, schedule="validation_plateau", decay_rate=0.5, patience=1, clip="none"
    )
    loop = dataclasses.replace(LOOP, steps=90, eval_every=10, log_every=1, save_every=20)

    def trained(folder: Path, steps: int, **options: Any) -> Any:
        return fit(
            toy_state(config), loss_fn=toy_loss, optimizer=config, batches=ToyBatches(), folder=folder,
            config=dataclasses.replace(loop, steps=steps), eval_fn=eval_fn,
            validation=[toy_batch(10_000)], **options,
        )  # fmt: skip

    whole = trained(tmp_path / "whole", 90)
    assert read.count("validation") == 1
    records = read_metrics(tmp_path / "whole")
    errors = [record["error"] for record in records if record["split"] == "validation"]
    rates = [record["learning_rate"] for record in records if record["split"] == "train"]
    expected = [0.2 * 0.5 ** PlateauWatch(1).update(errors[: step // 10 + 1]).falls for step in range(90)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates[-1] < rates[0]
    trained(tmp_path / "part", 40)
    part = trained(tmp_path / "part", 90, resume=True)
    for name in ("params", "opt_state"):
        jax.tree.map(np.testing.assert_array_equal, getattr(part.state, name), getattr(whole.state, name))
    # At each evaluation that counts the rate falls; the one at the end of the shorter run doesn't count.
    constant: dict[str, Any] = {"selection": lambda evaluation: 0.0}
    whole = trained(tmp_path / "falls", 40, **constant)
    trained(tmp_path / "longer", 25, **constant)
    longer = trained(tmp_path / "longer", 40, resume=True, **constant)
    jax.tree.map(np.testing.assert_array_equal, longer.state.params, whole.state.params)
    with pytest.raises(ValueError, match="can't fall before step 10, and the run ends at step 10"):
        trained(tmp_path / "short", 10)
    with pytest.raises(ValueError, match="there is no validation loss to watch"):
        fit(
            toy_state(config), loss_fn=toy_loss, optimizer=config, batches=ToyBatches(),
            folder=tmp_path / "none", config=loop,
        )  # fmt: skip


@pytest.mark.parametrize("start", [None, 1])
def test_parameters_of_a_checkpoint_without_its_model(tmp_path: Path, start: int | None) -> None:
    """By their names those that are evaluated, averages of the optimizer where it keeps them."""
    config = OptimizerConfig("adam", 0.3, average_from=start)
    state, _ = run(config, np.arange(4.0))
    with closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(4, state)
        checkpoints.wait()
        found = checkpoints.restore_params(4)
    assert found.keys() == {"w"}
    assert found["w"] == evaluated_params(state)["w"]
    assert (found["w"] == state.params["w"]) == (start is None)
