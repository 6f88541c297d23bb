"""A task whose model has no cell, whose score is decoded on the host and whose data are made anew."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from data import ArrayExamples, Batch, evaluation_batches, train_batches
from data.batch import Batches
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.objective import classification, measured_by
from experiments.run_task import run_task, run_tasks, train_task
from experiments.task import Data, Metric, RenewedData, Scores, Task, TrainingOptions
from models.cell import Params
from train import Checkpoints, LoopConfig, OptimizerConfig, read_metrics

OPTIONS = TrainingOptions(
    0, 8, LoopConfig(steps=12, eval_every=2, log_every=1, save_every=4), OptimizerConfig()
)
METRICS = {
    "cross_entropy": Metric("cross entropy (nats)"),
    "accuracy": Metric("accuracy", ".1%", "higher"),
    "decoded": Metric("share of ones among the answers", ".2f", "higher"),
}


class Dense(nn.Module):
    """Logits of the mean input: nothing recurrent, no random numbers."""

    @nn.compact
    def __call__(self, inputs: Any, *, mask: Any, train: bool = False) -> Any:
        return nn.Dense(2)(jnp.asarray(inputs).mean(axis=0))


def examples(seed: int, count: int = 24) -> ArrayExamples:
    """Sequences of two numbers, and whether their sum is above 0."""
    inputs = np.random.default_rng(seed).normal(size=(count, 5, 2)).astype(np.float32)
    return ArrayExamples(inputs, (inputs.sum((1, 2)) > 0).astype(np.int32))


def endless(seed: int, rows: int) -> Batches:
    return train_batches(examples(1), batch_size=rows, seed=seed)


def task(made: list[int] | None = None) -> Task:
    """Its data after six steps are drawn from a seed that follows from the parameters there."""
    model = Dense()

    def logits(params: Params, batch: Batch) -> jax.Array:
        return jnp.asarray(model.apply(params, batch.inputs, mask=batch.mask))

    answer = jax.jit(lambda params, batch: jnp.argmax(logits(params, batch), -1))

    def score(params: Params, batches: Sequence[Batch]) -> Scores:
        answers = np.concatenate([np.asarray(answer(params, batch)) for batch in batches])
        return Scores({"decoded": float(answers.mean())}, f"first answer: {answers[0]}")

    def make(params: Params, epoch: int) -> Mapping[str, np.ndarray]:
        if made is not None:
            made.append(epoch)
        return {"seed": np.array(int(1e6 * abs(float(params["params"]["Dense_0"]["kernel"].sum()))))}

    def renewed(arrays: Mapping[str, np.ndarray], seed: int, rows: int) -> Batches:
        return train_batches(examples(int(arrays["seed"])), batch_size=rows, seed=seed)

    def held_out(seed: int) -> list[Batch]:
        return list(evaluation_batches(examples(seed), batch_size=24))

    return Task(
        title="signs",
        model=model,
        data=Data(endless, lambda: held_out(2), lambda: held_out(3), renewed=RenewedData(6, make, renewed)),
        objective=measured_by(model, classification),
        metrics=METRICS,
        select="decoded",
        report="accuracy",
        baselines={"always 1": {"accuracy": 0.5}},
        score=score,
        score_every=3,
    )


def started(folder: Path, *, resumed: bool = False) -> Run:
    return Run(folder, resumed, 1, {})


def test_a_model_without_a_cell(tmp_path: Path) -> None:
    """Trained, scored, reported; the best checkpoint is that of the highest score."""
    report = run_task(started(tmp_path), task(), OPTIONS, label="dense")
    assert report.startswith("signs, dense: accuracy ")
    assert "share of ones among the answers" in report
    assert "first answer: " in report
    scored = {r["step"]: r["decoded"] for r in read_metrics(tmp_path) if "decoded" in r}
    assert list(scored) == [0, 6, 12]
    saved = {step: value for step, value in scored.items() if step in (12,)}
    assert Checkpoints(tmp_path / "checkpoints").best() == max(saved, key=lambda step: saved[step])
    assert (tmp_path / "figures" / "training.png").exists()


def test_data_made_anew_are_kept(tmp_path: Path) -> None:
    """Resumed within the epoch they are read; without their file the run says why it can't go on."""
    whole = train_task(started(tmp_path / "whole"), task(), OPTIONS, label="")
    made: list[int] = []
    short = dataclasses.replace(OPTIONS, loop=dataclasses.replace(OPTIONS.loop, steps=8))
    train_task(started(tmp_path / "part"), task(made), short, label="")
    resumed = train_task(started(tmp_path / "part", resumed=True), task(made), OPTIONS, label="")
    assert made == [1]
    for one, other in zip(jax.tree.leaves(whole.after), jax.tree.leaves(resumed.after), strict=True):
        np.testing.assert_array_equal(one, other)
    train_task(started(tmp_path / "lost"), task(), short, label="")
    (tmp_path / "lost" / "arrays" / "epochs" / "1.npz").unlink()
    with pytest.raises(ValueError, match=r"epochs/1.npz is missing"):
        train_task(started(tmp_path / "lost", resumed=True), task(), OPTIONS, label="")


def test_side_by_side_each_has_its_own_data(tmp_path: Path) -> None:
    """Two tasks of one run, the second by a seed of its own parameters; finished ones are read, not trained."""
    made: list[int] = []
    tasks = {name: task(made) for name in ("one", "two")}
    trained: list[str] = []

    def measure(name: str, net: Any, folder: Path) -> dict[str, Any]:
        trained.append(name)
        return {"steps": net.steps}

    found = dict(run_tasks(started(tmp_path), tasks, OPTIONS, measure))
    assert (trained, made) == (["one", "two"], [1, 1])
    assert [int(arrays["steps"]) for arrays in found.values()] == [12, 12]
    for name in tasks:
        assert int(read_arrays(tmp_path / "nets" / name, "epochs/1")["seed"]) > 0
    dict(run_tasks(started(tmp_path, resumed=True), tasks, OPTIONS, measure))
    assert trained == ["one", "two"]
    longer = dataclasses.replace(OPTIONS, loop=dataclasses.replace(OPTIONS.loop, steps=14))
    dict(run_tasks(started(tmp_path, resumed=True), tasks, longer, measure))
    assert trained == ["one", "two", "one", "two"]
