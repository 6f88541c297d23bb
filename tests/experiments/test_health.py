"""Health and forensics handed to training: through the command line, and the seam between model and cell."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis.figures import style
from data import Batch, TaskBatches
from experiments.cell_view import CellView, longest
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.objective import classification, tagging
from experiments.problems import adding_problem
from experiments.run_task import run_tasks
from experiments.task import TrainingOptions
from models import GRU, Elman, SequenceClassifier, SequenceTagger, unroll
from tests.experiments.command import command, newest_checkpoint, saved_state, untimed
from train import HealthConfig, LoopConfig, OptimizerConfig, read_metrics

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]


def health_of(folder: Path) -> list[dict[str, Any]]:
    return [record for record in untimed(folder) if record["split"] == "health"]


@pytest.fixture(scope="module")
def watched(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run of adding, with its health."""
    folder = tmp_path_factory.mktemp("watched") / "run"
    assert command("adding", *options["adding"], "--health.every", 25, "--run-dir", folder) == 0
    return folder


@pytest.mark.slow
def test_health_changes_no_bit_of_training(watched: Path, finished: Finished) -> None:
    assert newest_checkpoint(watched) == newest_checkpoint(finished("adding"))
    rest = [record for record in untimed(watched) if record["split"] != "health"]
    assert rest == untimed(finished("adding"))


@pytest.mark.slow
def test_what_is_logged(watched: Path) -> None:
    records = health_of(watched)
    assert [record["step"] for record in records] == [0, 25, 50, 75, 100]
    for record in records:
        assert {"exponent", "half_life", "saturated", "saturated/hidden"} <= record.keys()
        assert {f"log_gradient/lag_{lag}" for lag in range(1, 11)} <= record.keys()
        assert {f"log_singular_{i}/lag_{lag}" for i in (1, 3, 6) for lag in (1, 4)} <= record.keys()
        assert (
            record["log_singular_1/lag_4"] >= record["log_singular_3/lag_4"] >= record["log_singular_6/lag_4"]
        )
    # Every step's norms are not logged; of those that are, a clipped one has its norm at the bound.
    train = [r for r in read_metrics(watched) if r["split"] == "train"]
    assert all((r["clipped_norm"] < r["grad_norm"]) == (r["grad_norm"] > 1) for r in train)
    assert all(0 <= record["clipped_share"] <= 1 for record in records[1:])
    events = b"".join(path.read_bytes() for path in (watched / "tensorboard").iterdir())
    for tag in (b"health/exponent", b"health/log_gradient", b"health/log_singular_1", b"\x89PNG"):
        assert tag in events
    assert {path.name for path in (watched / "figures").glob("*.png")} == {"health.png", "training.png"}


@pytest.mark.slow
def test_the_gradient_of_the_net_as_it_is(watched: Path) -> None:
    """The last report's gradient at lag 3, from the checkpoint by a way of its own."""
    from functools import partial

    from data import adding
    from experiments.problems import from_task

    prefix, leaves = "params/params/", saved_state(watched, 100)
    params = {name.removeprefix(prefix): leaf for name, leaf in leaves.items() if name.startswith(prefix)}
    weights = {name: params[f"recurrent/cell/{name}"] for name in ("kernel", "recurrent", "bias")}
    batch = from_task(partial(adding, length=10)).validation()[0]
    from models import Elman

    cell, norms = Elman(6), []
    for example in range(2):  # all are equally long, so that the first are taken
        xs, target = jnp.asarray(batch.inputs)[:, example], batch.targets[example]

        def loss(state: jax.Array, xs: jax.Array = xs, target: Any = target) -> jax.Array:
            _, ys = unroll(cell, weights, xs[7:], state)
            return jnp.sum((ys[-1] @ params["readout/kernel"] + params["readout/bias"] - target) ** 2)

        state, _ = unroll(cell, weights, xs[:7])
        norms.append(float(jnp.linalg.norm(jax.grad(loss)(state))))
    reported = health_of(watched)[-1]["log_gradient/lag_3"]
    assert reported == pytest.approx(math.log(np.median(norms)), abs=1e-4)


@pytest.mark.full
def test_resumed_health_is_that_of_a_run_never_stopped(
    watched: Path, options: Options, tmp_path: Path
) -> None:
    """Stopped at 60, between two reports: the count of clipped steps goes on too."""
    folder = tmp_path / "run"
    arguments = ("adding", *options["adding"], "--health.every", 25, "--run-dir", folder)
    assert command(*arguments, "--steps", 60) == 0
    assert [record["step"] for record in health_of(folder)] == [0, 25, 50]
    assert command(*arguments, "--resume") == 0
    assert health_of(folder) == health_of(watched)
    assert newest_checkpoint(folder) == newest_checkpoint(watched)


@pytest.mark.full
def test_inspect_draws_it_anew(watched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = watched / "figures/health.png"
    before = picture.read_bytes()
    picture.unlink()
    capsys.readouterr()
    assert command("inspect", watched) == 0
    said, _ = capsys.readouterr()
    assert picture.read_bytes() == before
    assert str(picture) in said
    assert "  health, step 100: exponent " in said
    assert "lag_" not in said


@pytest.mark.full
def test_side_by_side_each_net_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as it is trained; a net that is trained on is drawn anew."""
    drawn: list[str] = []
    monkeypatch.setattr("analysis.figures.health.health_figure", lambda **series: None)
    monkeypatch.setattr(style, "save", lambda figure, folder, name: drawn.append(name) or [])
    problem = adding_problem(5)
    task = problem.task(problem.model(NetworkConfig(), Elman(2)))
    loop = LoopConfig(steps=2, chunk=1, health=HealthConfig(every=1, examples=1, directions=1))

    def train(resumed: bool, loop: LoopConfig, *names: str) -> None:
        options = TrainingOptions(0, 2, loop, OptimizerConfig())
        tasks = dict.fromkeys(names, task)
        list(run_tasks(Run(tmp_path, resumed), tasks, options, lambda *_: {}))

    train(False, loop, "one", "two")
    assert drawn == ["health_nets_one", "health_nets_two"]
    train(True, dataclasses.replace(loop, steps=3), "one")
    assert drawn[2:] == ["health_nets_one"]


def test_what_reads_the_future_has_no_health(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert command("adding", "--direction", "both", "--health.every", 10, "--run-dir", folder) == 2
    assert "error: --health.every needs a net that reads forward only" in capsys.readouterr().err
    assert not folder.exists()
    assert command("adding", "--health.every", -1, "--run-dir", folder) == 2
    assert "health.every is -1" in " ".join(capsys.readouterr().err.split())


# --- losses that aren't finite

EXPLODES = ("--cell", "elman(activation=relu)", "--length", 10, "--hidden-size", 6, "--batch-size", 10)
EXPLODES += ("--steps", 20, "--save-every", 5, "--eval-every", 20, "--chunk", 5)
EXPLODES += ("--optimizer.name", "sgd", "--optimizer.clip", "none", "--optimizer.learning-rate", 3)


def reports(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "nonfinite.json").read_text())


@pytest.mark.slow
def test_a_rate_that_explodes_stops_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert command("adding", *EXPLODES, "--run-dir", folder) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    (report,) = reports(folder)
    first = report["first"]
    assert report["done"] == "stopped"
    assert f"error: step {report['step']}: the loss is " in err
    assert first["sentence"] in err
    assert first["quantity"]
    assert first["fault"] in ("inf", "nan")


@pytest.mark.full
@pytest.mark.parametrize(("policy", "counted"), [("skip", "skipped"), ("rollback", "rollbacks")])
def test_the_same_rate_by_other_policies(
    policy: str, counted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    given = ("adding", *EXPLODES, "--nonfinite", policy, "--rollbacks", 10, "--run-dir", folder)
    assert command(*given) == 0
    results = json.loads((folder / "results.json").read_text())
    count = results["nonfinite"][counted]
    assert count >= 1
    records = [r for r in read_metrics(folder) if r["split"] == "nonfinite"]
    assert len(records) == count
    assert records[-1][counted] == count
    capsys.readouterr()
    assert command("inspect", folder) == 0
    assert f"; {reports(folder)[0]['done']}" in capsys.readouterr().out
    assert command(*given, "--resume", "--nonfinite", "stop") == 2
    assert f"was begun with --nonfinite {policy}, not stop" in capsys.readouterr().err


class Broken(TaskBatches):
    """Of the 38th batch the fourth step of the third sequence is NaN."""

    def take(self, count: int) -> Batch:
        first = json.loads(self.get_state())["index"]
        batch = super().take(count)
        if first <= 37 < first + count:
            inputs = np.array(batch.inputs)
            inputs[37 - first, 3, 2] = np.nan
            batch = batch._replace(inputs=jnp.asarray(inputs))
        return batch


@pytest.mark.slow
@pytest.mark.parametrize("policy", [pytest.param("stop", marks=pytest.mark.full), "skip"])
def test_a_bad_number_in_a_batch_is_found(
    policy: str, tmp_path: Path, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.problems.TaskBatches", Broken)
    folder = tmp_path / "run"
    code = command("adding", *options["adding"], "--nonfinite", policy, "--run-dir", folder)
    assert code == {"stop": 1, "skip": 0}[policy]
    (report,) = reports(folder)
    first = report["first"]
    assert report["step"] == 38
    assert (first["direction"], first["step"], first["example"]) == ("forward", 4, [2])
    assert (first["quantity"], first["fault"]) == ("input", "nan")
    assert float(first["singular_value_before"]) > 0
    assert "is input at time step 4 of example 2: nan" in first["sentence"]


# --- the seam


@pytest.mark.parametrize(
    "kind", ["tokens", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("classifier", "tagger"))]
)
def test_a_model_from_inside(kind: str) -> None:
    """The cell run on what it reads, and the rest of the model on its outputs, give the model's own loss."""
    cell, lengths, rng = GRU(5), np.array([4, 7, 6]), np.random.default_rng(0)
    mask = np.arange(7)[:, None] < lengths
    inputs: Any = rng.normal(size=(7, 3, 2)).astype(np.float32) * mask[..., None]
    measure: Any = classification
    model: Any = SequenceClassifier(cell, 4)
    targets = np.array([0, 1, 2])
    if kind == "tokens":
        model = SequenceClassifier(cell, 4, vocabulary_size=9, embedding_size=3)
        inputs = rng.integers(0, 9, size=(7, 3)) * mask
    if kind == "tagger":
        model, measure, targets = SequenceTagger(cell, 4), tagging, rng.integers(0, 4, size=(7, 3))
    batch = Batch(inputs, targets, mask)
    given = (jnp.asarray(inputs), jnp.asarray(mask))
    params = model.init(jax.random.key(0), given[0], mask=given[1])
    view = CellView(model, measure)
    own, xs = view.entry(params, batch)
    assert xs.shape == (7, 3, 3 if kind == "tokens" else 2)
    final, ys = unroll(cell, own, xs, mask=jnp.asarray(mask))
    whole = measure(model.apply(params, given[0], mask=given[1]), batch)["cross_entropy"][0]
    np.testing.assert_allclose(view.loss(params, batch)(final, ys), whole, rtol=1e-6)
    moved = view.loss(params, batch)(final, ys + 1.0)
    assert abs(float(moved - whole)) > 1e-3

    few = longest(batch, 2)
    np.testing.assert_array_equal(few.mask.sum(axis=0), [7, 6])
    np.testing.assert_array_equal(few.inputs, inputs[:, [1, 2]])
    np.testing.assert_array_equal(few.targets, targets[..., [1, 2]])
    assert longest(Batch(inputs[:, :1], targets[..., :1], mask[:, :1]), 5).mask.shape == (4, 1)
