"""Flossing: its loss and gradient against plain loops, that it does what it says, and what a run leaves."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import Batch, delayed_recall
from experiments.gradients.flossing import VARIANTS, Config, draw, goal_of
from experiments.gradients.flossing_loss import Floss, Flossing, flossing_loss, last_gradients, take_examples
from experiments.network import NetworkConfig
from experiments.objective import Loss
from experiments.problems import Problem, adding_problem, recall_error, recall_problem
from models import Elman, SequenceTagger, unroll
from tests.data.synthetic.test_memory_tasks import KEY
from tests.experiments.command import arrays_bytes, command, newest_checkpoint, untimed
from train import LoopConfig, Tracker, read_metrics

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]
CELL = Elman(5)


def drawn(gain: float = 0.6) -> tuple[dict[str, Any], jax.Array]:
    """Parameters of a small net with exponents well below zero, and inputs `[T, N, D]`."""
    first, second, third = jax.random.split(jax.random.key(3), 3)
    params = CELL.init(first, 2)
    params["recurrent"] = gain * jax.random.normal(second, (5, 5)) / 5**0.5
    return params, jax.random.normal(third, (20, 3, 2))


def by_hand(params: dict[str, Any], xs: Any, frame: np.ndarray) -> np.ndarray:
    """Exponents along one sequence: Jacobians of tanh written out, a QR at every step."""
    w, r, b = (np.asarray(params[name], np.float64) for name in ("kernel", "recurrent", "bias"))
    h, logs = np.zeros(len(b)), np.zeros(frame.shape[1])
    for x in np.asarray(xs, np.float64):
        h = np.tanh(x @ w + h @ r + b)
        frame, upper = np.linalg.qr((1 - h**2)[:, None] * r.T @ frame)
        logs += np.log(np.abs(np.diag(upper)))
    return logs / len(xs)


def test_defaults_move_together() -> None:
    """Each of these options alone was refused for the default of another."""
    for options in ({"delay": 120}, {"tasks": ("copy_memory",)}, {"hidden_size": 32}):
        Config(**options).check()  # pyright: ignore[reportArgumentType]
    assert Config(loop=LoopConfig(steps=100, eval_every=50)).floss_steps == 100
    assert [Config().k("copy_memory"), Config().k("delayed_recall"), Config().recalled] == [16, 64, 100]


@pytest.mark.usefixtures("x64")
def test_loss_is_the_mean_square_of_the_exponents() -> None:
    """By a loop, from the frame that the spectrum begins with."""
    params, xs = drawn()
    frame = np.linalg.qr(np.asarray(jax.random.normal(jax.random.key(0), (5, 3))))[0]  # its key by default
    expected = np.mean([by_hand(params, xs[:, n], frame) ** 2 for n in range(3)])
    for qr_every in (1, 5):
        found = float(flossing_loss(CELL, params, xs, 3, qr_every))
        assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_gradient_against_differences() -> None:
    params, xs = drawn()
    loss = jax.jit(lambda p: flossing_loss(CELL, p, xs[:, :1], 2, 5))
    gradient = jax.grad(loss)(params)
    for name in ("kernel", "recurrent", "bias"):
        direction = jax.random.normal(jax.random.key(1), params[name].shape)
        above, below = (loss(params | {name: params[name] + s * 1e-5 * direction}) for s in (1, -1))
        along = jnp.vdot(gradient[name], direction)
        np.testing.assert_allclose(along, (above - below) / 2e-5, rtol=1e-6, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_descent_drives_exponents_to_zero() -> None:
    """Forty plain steps; what they did is measured along other inputs, by the loop above, from another frame."""
    params, xs = drawn()
    other = jax.random.normal(jax.random.key(9), (300, 2))
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    before = by_hand(params, other, frame)
    descend = jax.jit(jax.grad(lambda p: flossing_loss(CELL, p, xs, 2, 5)))
    for _ in range(40):
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, descend(params))
    after = by_hand(params, other, frame)
    assert np.all(before[:2] < -0.3)
    assert np.all(np.abs(after[:2]) < 0.35 * np.abs(before[:2]))


@pytest.mark.slow
def test_term_beside_the_tasks_loss() -> None:
    """Sums and counts: the mean of the whole is the task's mean plus the weighted term."""
    model = SequenceTagger(CELL, 1)
    batch = delayed_recall(KEY, 4, 10, 2)
    params = model.init(jax.random.key(0), batch.inputs)
    task, floss = Loss(model, recall_error), Floss(weight=3.0, trajectories=2)
    (own, count), _ = task(params, (), batch, jax.random.key(1))
    (total, same), (_, others) = Flossing(CELL, 2, floss, task)(params, (), batch, jax.random.key(1))
    (term, one), _ = Flossing(CELL, 2, floss)(params, (), batch, jax.random.key(1))
    alone = flossing_loss(CELL, params["params"]["recurrent"]["cell"], jnp.asarray(batch.inputs)[:, :2], 2, 5)
    assert (float(one), float(same)) == (1, float(count)) == (1, 40)
    assert float(term) == pytest.approx(float(alone), rel=1e-5)
    assert float(total / same) == pytest.approx(float(own / count) + 3 * float(alone), rel=1e-5)
    assert float(others["flossing"][0] / others["flossing"][1]) == pytest.approx(3 * float(alone), rel=1e-5)


@pytest.mark.slow
def test_an_exponent_of_minus_infinity_is_left_out() -> None:
    """A ReLU net that is silent: every step takes every direction away."""
    cell = Elman(3, activation="relu")
    params = {"kernel": jnp.zeros((1, 3)), "recurrent": jnp.eye(3), "bias": -jnp.ones(3)}
    value, gradient = jax.value_and_grad(lambda p: flossing_loss(cell, p, jnp.ones((10, 2, 1)), 2, 5))(params)
    assert float(value) == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_error_of_recall() -> None:
    batch = Batch(
        np.zeros((3, 1, 1)), np.array([[[1.0]], [[2.0]], [[4.0]]]), np.array([[True], [True], [False]])
    )
    total, count = recall_error(jnp.asarray([[[0.0]], [[4.0]], [[9.0]]]), batch)["mean_square_error"]
    assert (float(total), float(count)) == (5, 2)


def test_goals() -> None:
    config = Config()
    assert goal_of(config, "copy_memory").reached({"recalled": 0.91})
    assert not goal_of(config, "copy_memory").reached({"recalled": 0.9})
    assert goal_of(config, "delayed_recall").reached({"mean_square_error": 0.0099})
    assert goal_of(config, "adding").bound == 0.01


# --- the run


@pytest.mark.full
def test_what_a_run_leaves(finished: Finished) -> None:
    folder = finished("flossing")
    results = json.loads((folder / "results.json").read_text())
    assert {task: list(found) for task, found in results.items()} == {"delayed_recall": list(VARIANTS)}
    table = (folder / "table.txt").read_text()
    with np.load(folder / "arrays/measured.npz") as arrays:
        measured = {key.removeprefix("delayed_recall|"): value for key, value in arrays.items()}
    home = folder / "nets/delayed_recall/0"
    assert newest_checkpoint(home / "flossing")[0] == 40
    losses = [r["loss"] for r in read_metrics(home / "flossing") if r["split"] == "train"]
    assert losses[-1] < losses[0]
    for name, (outcome,) in results["delayed_recall"].items():
        records = read_metrics(home / name.replace(" ", "_"))
        held_out = [(r["step"], r["mean_square_error"]) for r in records if r["split"] == "validation"]
        steps, errors = zip(*held_out, strict=True)
        assert outcome == {
            "solved": errors[-1] < 0.01,
            "steps": steps[-1],
            "best": min(errors),
            "diverged": False,
        }
        assert (str(steps[-1]) if outcome["solved"] else f"({min(errors):.5f})") in table
        assert any("flossing" in record for record in records) == (name == "flossing before and during")
        assert measured[f"{name}|after|exponents"].shape == (16, 6)
        assert measured[f"{name}|after|gradient_norms"].shape == (12, 16)
    # The same beginning for the two that are flossed, another for the one that isn't.
    begun = [measured[f"{name}|before|exponents"] for name in VARIANTS]
    np.testing.assert_array_equal(begun[1], begun[2])
    assert np.mean(begun[1][:, :2] ** 2) < np.mean(begun[0][:, :2] ** 2)
    pictures = ("training", "exponents", "gradient_against_lag_delayed_recall")
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in pictures for kind in ("png", "pdf")}


@pytest.mark.full
def test_the_default_exponents_are_drawn(finished: Finished, tmp_path: Path) -> None:
    folder = shutil.copytree(finished("flossing"), tmp_path / "run")
    described = json.loads((folder / "config.json").read_text())
    described["config"]["exponents"] = None
    (folder / "config.json").write_text(json.dumps(described))
    shutil.rmtree(folder / "figures")
    assert {path.name for path in draw(folder)} == {
        path.name for path in (finished("flossing") / "figures").iterdir()
    }


@pytest.mark.full
def test_resumed(
    finished: Finished, options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second net and resumed: the same bits, and nothing finished is trained again."""
    whole, folder, log = finished("flossing"), tmp_path / "run", Tracker.log
    begun = set()

    def logged(self: Tracker, done: int, split: str, metrics: dict) -> None:
        log(self, done, split, metrics)
        begun.add(self.folder.name)
        if (self.folder.name, done) == ("flossing_before", 60) and not stopped:
            signal.raise_signal(signal.SIGTERM)

    stopped = False
    monkeypatch.setattr(Tracker, "log", logged)
    arguments = ("flossing", *options["flossing"])
    assert command(*arguments, "--run-dir", folder) == 128 + signal.SIGTERM
    stopped = True
    assert begun == {"flossing", "no_flossing", "flossing_before"}
    begun.clear()
    assert command(*arguments, "--resume", folder) == 0
    assert begun <= {"flossing_before", "flossing_before_and_during"}
    for name in ("flossing", *(name.replace(" ", "_") for name in VARIANTS)):
        net = Path("nets/delayed_recall/0") / name
        assert newest_checkpoint(folder / net) == newest_checkpoint(whole / net)
        assert untimed(folder / net) == untimed(whole / net)
    assert arrays_bytes(folder) == arrays_bytes(whole)
    assert (folder / "table.txt").read_text() == (whole / "table.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem",
    [pytest.param(adding_problem(9), marks=pytest.mark.full), recall_problem(2, 9)],
    ids=["adding", "recall"],
)
def test_gradients_of_the_last_step(problem: Problem) -> None:
    """Again by a way of its own: the loss of one sequence as a function of one state at a time."""
    model = problem.model(NetworkConfig(), CELL)
    batch = jax.tree.map(jnp.asarray, take_examples(problem.data.test()[0], 3))
    params: Any = model.init(jax.random.key(0), batch.inputs)
    norms = last_gradients(CELL, model, problem.measure, problem.each_step, params, batch)
    assert norms.shape == (9, 3)
    readout, own = params["params"]["readout"], params["params"]["recurrent"]["cell"]

    def loss(state: jax.Array, rest: jax.Array, target: jax.Array) -> jax.Array:
        _, ys = unroll(CELL, own, rest, state)
        return (ys[-1] @ readout["kernel"] + readout["bias"] - target)[0] ** 2

    for n in range(3):
        target = batch.targets[-1, n] if problem.each_step else batch.targets[n][None]
        for lag in (1, 4, 9):
            _, ys = unroll(CELL, own, batch.inputs[:, n])
            state = ys[8 - lag] if lag < 9 else jnp.zeros(5)
            alone = jax.grad(loss)(state, batch.inputs[9 - lag :, n], target)
            assert float(norms[lag - 1, n]) == pytest.approx(float(jnp.linalg.norm(alone)), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--exponents", 65], "--exponents 65 are more than the 64 numbers in the state of elman"),
        (
            ["--exponents", 1, 2, 3],
            "--exponents 1 2 3 must be one whole number of at least 1, or one for each",
        ),
        (["--exponents", 0], "--exponents 0 must be one whole number of at least 1"),
        (["--floss.steps", 0], "--floss.steps must be a whole number of at least 1, but is 0"),
        (["--floss.steps", 9000], "--floss.steps 9000 are more than the --steps 3000 of training"),
        (["--floss.weight", "nan"], "--floss.weight must be above 0 and finite, but is nan"),
        (["--recall-length", 60], "--recall-length 60 ends before anything is asked for"),
        (["--tasks", "adding", "adding"], "--tasks names one twice"),
        (["--steps", 150], "--steps 150 is no multiple of --eval-every 100"),
        (["--repeats", 0], "repeats must be a whole number of at least 1, but is 0"),
        (["--cell", "batch_norm_lstm"], "lets the examples of a batch see one another"),
    ],
)
def test_mistakes(arguments: list, said: str, refused: Callable[..., None]) -> None:
    refused(said, "flossing", *arguments)
