"""The memory that a run needs at least is counted from shapes; a run that can't fit is refused before it begins."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import data
import experiments.footprint
import models.recurrence.free_memory
from analysis import step_jacobians
from experiments.footprint import Part, SavedForBackward, check_fits, check_task_fits, nbytes, traced_once
from experiments.network import NetworkConfig
from experiments.problems import adding_problem
from experiments.task import Task, TrainingOptions
from models import Elman
from tests.experiments.command import command
from train import LoopConfig, OptimizerConfig

T, B, H = 40, 10, 16


def task_of(cell: str, length: int = T, **network: Any) -> Task:
    network_config = NetworkConfig(**network)
    problem = adding_problem(length)
    return problem.task(problem.model(network_config, network_config.build(cell, H)))


def shapes_of(task: Task) -> tuple[Any, Any]:
    batch = jax.eval_shape(partial(data.adding, batch_size=B, length=T), jax.random.key(0))
    params = jax.eval_shape(lambda: task.model.init(jax.random.key(0), jnp.zeros((T, B, 2)), mask=None))
    return params, batch


@pytest.mark.parametrize(("cell", "network"), [("elman", {}), ("lstm", {"method": "scan"})])
def test_no_more_than_xla_holds(cell: str, network: dict[str, Any]) -> None:
    """The backward pass's arrays are fewer than XLA's own, but not by an order of magnitude."""
    task = task_of(cell, **network)
    params, batch = shapes_of(task)
    ours = nbytes(jax.eval_shape(SavedForBackward(task.objective.loss), params, (), batch))

    def loss(params: Any, batch: Any) -> Any:
        return task.objective.loss(params, (), batch, jax.random.key(0))[0][0]

    compiled: Any = jax.jit(jax.value_and_grad(loss)).lower(params, batch).compile().memory_analysis()
    theirs = compiled.temp_size_in_bytes + compiled.argument_size_in_bytes
    assert theirs / 6 < ours < theirs


def test_checkpointing_counts() -> None:
    """With every 10th state kept less is saved."""
    saved = {}
    for every in (None, 10):
        task = task_of("elman", method="scan", checkpoint_every=every)
        params, batch = shapes_of(task)
        saved[every] = nbytes(jax.eval_shape(SavedForBackward(task.objective.loss), params, (), batch))
    assert saved[10] < 0.6 * saved[None]


@pytest.mark.parametrize(
    ("free", "length", "chunk", "told"),
    [
        (2 * 10**5, 100, 1, "for held-out data"),
        (10**8, 10**6, 1, "for held-out data"),
        (10**9, T, 10**6, "for batches"),
        (3 * 10**5, 2, 1, "for parameters, gradient and optimizer"),
    ],
)
def test_what_is_refused(
    free: int, length: int, chunk: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments.footprint, "available_memory", lambda: free)
    loop = LoopConfig(steps=10**6, eval_every=10**6, save_every=10**6, chunk=chunk)
    options = TrainingOptions(seed=0, batch_size=B, loop=loop, optimizer=OptimizerConfig())
    hidden = NetworkConfig().build("elman", 200) if "parameters" in told else None
    task = task_of("elman", length)
    if hidden is not None:
        problem = adding_problem(length)
        task = problem.task(problem.model(NetworkConfig(), hidden))
    with pytest.raises(ValueError, match=rf"^this run needs at least .* GiB.* {told}.* GiB are free: take "):
        check_task_fits(task, options)
    monkeypatch.setattr(experiments.footprint, "available_memory", lambda: 10**15)
    check_task_fits(task, options)
    monkeypatch.setattr(experiments.footprint, "available_memory", lambda: None)  # nobody can tell
    check_task_fits(task, options)


def test_largest_part_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiments.footprint, "available_memory", lambda: 2**30)
    parts = {"this": Part(2**30, "less"), "that": Part(3 * 2**30, "fewer")}
    with pytest.raises(
        ValueError, match=r"^this run needs at least 4\.0 GiB, 3\.0 GiB of it for that, and 1\.0 "
    ):
        check_fits(parts)
    del parts["that"]
    check_fits(parts)


def test_vmap_hides_no_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Jacobians of one sequence fit; those of eight under `vmap` don't."""
    cell = Elman(8)
    params, xs = cell.init(jax.random.key(0), 2), jnp.ones((8, 5, 2))
    one = 2 * 4 * 5 * 8**2
    monkeypatch.setattr(models.recurrence.free_memory, "available_memory", lambda: 2 * one)
    step_jacobians(cell, params, xs[0])
    with pytest.raises(ValueError, match=r"\[5, 8, 8\] of 8 sequences"):
        jax.vmap(partial(step_jacobians, cell, params))(xs)
    monkeypatch.setattr(models.recurrence.free_memory, "available_memory", lambda: 9 * one)
    assert jax.vmap(partial(step_jacobians, cell, params))(xs).shape == (8, 5, 8, 8)


def test_chunks_are_padded_to_the_longest_there_can_be() -> None:
    assert LoopConfig(steps=7, chunk=50).longest_chunk == 7
    assert LoopConfig(steps=1000, chunk=50, eval_every=20, save_every=30).longest_chunk == 20
    assert LoopConfig(steps=1000, chunk=50).longest_chunk == 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ["adding", "--hidden-size", "100000"],
        ["adding", "--devices", "1000"],
        ["char_lm", "--hidden-size", "1000000"],
        *(
            pytest.param(options, marks=pytest.mark.full)
            for options in (
                ["adding", "--length", "100000000"],
                ["adding", "--batch-size", "3000000000"],
                ["adding", "--steps", "3000000000"],
                ["adding", "--devices", "300"],
                ["adding", "--cell", "window(order=100000000)"],
                ["gradients", "--hidden-size", "20000"],
                ["lyapunov", "--units", "1000000"],
                ["clipping", "--seeds", "2000000000"],
                ["flossing", "--blanks", "1000000000"],
                ["long_memory", "--lengths", "100000000"],
            )
        ),
    ],
    ids=" ".join,
)
def test_large_numbers(options: list[str], tmp_path: Path) -> None:
    """Refused at once, in one sentence, and nothing is left."""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "experiments", *options],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root), "PATH": "", "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("gated_cells --hidden-size 100000000", "the parameters of lstm"),
        ("gated_cells --batch-size 2000000000", "a batch"),
        ("gated_cells --seeds 2000000", "what is measured of each step"),
        ("elman_depth --layers 2000000", "the deepest nets"),
        ("elman_depth --batch-size 2000000", "the backward pass"),
        ("initial_gradients --lags 200000000", "inputs and states"),
        ("initial_gradients --hidden-size 100000", "the weights of an LSTM"),
        ("clipping --hidden-size 10000", "parameters, gradients and optimizer"),
        ("cliff --hidden-size 10000", "the nets of a path"),
        ("cliff --path-steps 2000000000", "one unit's path"),
        ("edge_of_chaos --hidden-size 10000", "the trained nets and their gradients"),
        ("edge_of_chaos --updates 20000000", "the images of all updates"),
    ],
)
def test_sizes_beyond_memory(
    options: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Refused in one sentence before a folder is made, with 8 GiB free."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiments.footprint, "available_memory", lambda: 2**33)
    assert command(*options.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: this run needs at least ")
    assert f" for {told}, and 8.0 GiB are free: take " in said
    assert not (tmp_path / "runs").exists()


def test_a_run_that_asks_twice_traces_once() -> None:
    """The config's check and the training build a task each, of equal models and losses."""
    options = TrainingOptions(0, B, LoopConfig(steps=10), OptimizerConfig(learning_rate=1e-3))
    traced_once.cache_clear()
    for _ in range(2):
        check_task_fits(task_of("elman"), options)
    found = traced_once.cache_info()
    assert (found.misses, found.hits) == (2, 2)
