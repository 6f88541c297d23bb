"""Edge of chaos: measured exponents against theory, training of many nets at once against one by one, errors."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from analysis import depth_scales, tanh_mean_field
from experiments.gradients.edge_of_chaos import Config, measured_exponents, reached
from experiments.gradients.edge_of_chaos_training import answer, fresh_net, images, train_nets
from tests.experiments.command import arrays_bytes, command
from train import OptimizerConfig, batch_mesh

Finished = Callable[[str], Path]
Options = dict[str, tuple[str | float, ...]]


def test_measured_exponents_at_rest() -> None:
    """In order a net comes to rest, and λ₁ is the logarithm of the spectral radius there, by NumPy."""
    config = Config(gains=(0.4, 0.8), biases=(0.0, 0.6), units=60, draws=1, trajectory=1700)
    found = measured_exponents(config)
    assert found.shape == (2, 3, 1)  # at 0.3 too, half way
    r, b, _ = jax.random.split(jax.random.split(jax.random.key(0), 1)[0], 3)
    matrix, biases = (np.asarray(jax.random.normal(k, s), np.float64) for k, s in ((r, (60, 60)), (b, (60,))))
    for i, gain in enumerate(config.gains):
        for j, bias in enumerate((0.0, 0.3, 0.6)):
            h = np.zeros(60)
            for _ in range(300):
                h = np.tanh(h @ (gain / 60**0.5 * matrix) + bias * biases)
            jacobian = (1 - h**2)[:, None] * (gain / 60**0.5 * matrix.T)
            radius = np.abs(np.linalg.eigvals(jacobian)).max()
            assert found[i, j, 0] == pytest.approx(np.log(radius), abs=5e-3)


def test_the_warmup_moves_with_the_trajectory() -> None:
    assert (Config().settling, Config(trajectory=100).settling) == (200, 40)


def test_an_answer_by_a_loop_in_numpy() -> None:
    net = fresh_net(jax.random.key(3), 64, 7, jnp.float32(1.5), jnp.float32(0.4))
    pixels = images("test")[0][:5]
    write, recurrent, bias, read = (
        np.asarray(a, np.float64)
        for a in (net["write"], net["cell"]["recurrent"], net["cell"]["bias"], net["read"])
    )
    h = np.tanh(pixels @ write)
    for _ in range(9):
        h = np.tanh(h @ recurrent + bias)
    np.testing.assert_allclose(answer(9, net, jnp.asarray(pixels)), h @ read, atol=1e-5)


def test_images_have_mean_square_one() -> None:
    pixels, labels = images("test")
    assert pixels.shape == (270, 64)
    assert np.mean(pixels**2) == pytest.approx(1, rel=1e-5)
    assert sorted(set(labels.tolist())) == list(range(10))


@pytest.mark.slow
def test_nets_trained_together_are_those_trained_alone() -> None:
    """Two updates by plain gradient descent, the second net by hand."""
    plain = OptimizerConfig(name="sgd", learning_rate=0.1, clip="none")
    gains, biases = jnp.array([0.9, 1.4]), jnp.array([0.1, 0.5])
    pixels, labels = images("train")
    batches = jnp.asarray(pixels[:20].reshape(2, 10, 64)), jnp.asarray(labels[:20].reshape(2, 10))
    nets = jax.vmap(lambda g, b: fresh_net(jax.random.key(1), 64, 6, g, b))(gains, biases)
    found, losses = train_nets(plain, 3, batch_mesh(1), nets, *batches)

    def loss(net: dict, pixels: jax.Array, labels: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(answer(3, net, pixels), labels).mean()

    net = fresh_net(jax.random.key(1), 64, 6, gains[1], biases[1])
    value = jnp.nan
    for batch in zip(*batches, strict=True):
        value, gradient = jax.value_and_grad(loss)(net, *batch)
        net = jax.tree.map(lambda p, g: p - 0.1 * g, net, gradient)
    assert float(losses[1]) == pytest.approx(float(value), rel=1e-5)
    for a, b in zip(jax.tree.leaves(net), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b[1], a, atol=1e-6)


def test_reached_wants_all_below_learnt_too() -> None:
    learnt = np.array([[True, True, False, True], [False, True, True, True], [True, True, True, True]])
    assert list(reached(np.array([4, 8, 16, 32]), learnt)) == [8, 0, 32]


@pytest.mark.full
def test_what_a_run_leaves(finished: Finished) -> None:
    folder = finished("edge_of_chaos")
    results = json.loads((folder / "results.json").read_text())
    scales = depth_scales(np.array([[0.8], [1.6]]), np.array([[0.1, 0.5]]))
    np.testing.assert_allclose(
        results["theory"], tanh_mean_field(np.array([[0.8], [1.6]]), np.array([[0.1, 0.5]])).exponent
    )
    accuracy = np.array(results["accuracy"])
    assert accuracy.shape == (2, 2, 2)
    assert np.all(accuracy[..., 0] > 0.4)  # one step from the image, far above guessing
    table = (folder / "table.txt").read_text().splitlines()
    assert table[2].split()[:2] == ["0.1", "0.8"]
    assert table[2].split()[4] == f"{scales.signal[0, 0]:.1f}"
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert drawn == {"phase_diagram.png", "depth_learnt.png", "depth_over_plane.png"}


@pytest.mark.full
def test_resumed_run_ends_the_same(finished: Finished, options: Options, tmp_path: Path) -> None:
    folder = shutil.copytree(finished("edge_of_chaos"), tmp_path / "run")
    before = arrays_bytes(folder)
    kept = folder / "arrays/trained_1.npz"
    stamp = kept.stat().st_mtime_ns
    for gone in ("results.json", "arrays/trained_6.npz"):
        (folder / gone).unlink()
    assert command("edge_of_chaos", *options["edge_of_chaos"], "--resume", folder) == 0
    assert kept.stat().st_mtime_ns == stamp
    assert arrays_bytes(folder) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gains", "1"], "--gains must name at least 2 values"),
        (["--lengths", "8", "4"], "--lengths must rise"),
        (["--lengths", "0", "4"], "lengths must be a whole number of at least 1"),
        (["--biases", "0.1", "inf"], "--biases must be at least 0 and finite"),
        (["--trajectory", "205", "--warmup", "200"], "--trajectory 205 is too short for a --warmup of 200"),
        (["--learnt", "1.5"], "--learnt must be above 0.1"),
        (["--updates", "0"], "updates must be a whole number of at least 1"),
    ],
)
def test_errors(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("edge_of_chaos", *arguments, "--run-dir", tmp_path / "run") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_sigterm_amid_a_computation(tmp_path: Path) -> None:
    """SIGTERM leaves, where nothing trains too, with its sentence and its code."""
    run = [sys.executable, "-m", "experiments", "edge_of_chaos", "--run-dir", str(tmp_path / "run")]
    with subprocess.Popen(
        run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith("run folder")
        time.sleep(2)
        process.terminate()
        said = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert said.endswith(f"--resume {tmp_path / 'run'} to continue\n")
    assert "Traceback" not in said
