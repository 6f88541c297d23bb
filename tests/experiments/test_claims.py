"""Claims: what a small run leaves, and that each verdict follows from the numbers, either way."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from analysis import log_slope
from data import digits
from experiments.claims.measure import climbs, digit_rows, held_out_rows, parameters, slope, weights
from experiments.claims.verdicts import FAILED, HELD, OPEN, difference, judge, largest_rate, smaller
from models import GRU, LSTM, Elman
from tests.experiments.command import arrays_bytes, command

SMALL = (
    *(
        "claims",
        "--seeds",
        2,
        "--hidden-size",
        3,
        "--batch-size",
        4,
        "--steps",
        10,
        "--length",
        5,
        "--lags",
        6,
    ),
)
Arrays = dict[str, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "claims"
    assert command(*SMALL, "--run-dir", folder) == 0
    return folder


@pytest.mark.slow  # it compiles 15 trainings
def test_what_a_run_leaves(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten claims with a verdict each; a piece that is lost is measured again, with the same bits, and no other."""
    results = json.loads((finished / "results.json").read_text())
    assert len(results) == 10
    assert {claim["verdict"] for claim in results.values()} <= {HELD, FAILED, OPEN}
    assert results["gru_parameters"]["verdict"] == HELD
    table = (finished / "table.txt").read_text()
    assert all(claim["sentence"] in table for claim in results.values())
    assert len(list((finished / "figures").glob("*.png"))) == 8
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "results.json").unlink()
    (folder / "arrays/gradients.npz").unlink()
    assert command(*SMALL, "--resume", folder) == 0
    assert capsys.readouterr().out.count("measured before") == 3
    assert arrays_bytes(folder) == arrays_bytes(finished)
    for name in ("results.json", "table.txt", "figures/depth.png"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()


# --- verdicts


def made_up() -> Arrays:
    """Measurements by which every claim holds."""
    spread = np.array([0.99, 1.0, 1.01])
    rates = np.array([0.01, 0.1, 1.0])
    learns, fails = 0.1 * spread, 2.0 * spread
    return {
        "gradients": {
            "gain": np.array([1.0, 4.0]),
            "bias": np.array([0.0, 1.0]),
            "elman": np.stack([0.1 * spread, 0.5 * spread]),
            "lstm": np.stack([-0.1 * spread, 0.2 * spread]),
            "lstm|bias": np.stack([-0.5 * spread, -0.001 * spread]),
            "elman|orthogonal": -0.1 * spread,
        },
        "rates": {
            "rate": rates,
            "elman|held_out": np.stack([learns, learns, fails]),
            "elman, clipped|held_out": np.stack([learns, learns, learns]),
            "lstm|held_out": np.stack([learns, fails, fails]),
            "lstm, clipped|held_out": np.stack([learns, fails, fails]),
            **{f"elman|{key}": np.stack([5 * spread] * 3) for key in ("climbed", "largest")},
            **{f"lstm|{key}": np.stack([spread] * 3) for key in ("climbed", "largest")},
        },
        "depth": {
            "depth": np.arange(1.0, 7.0),
            "held_out": np.outer([1.0, 0.8, 0.6, 0.5, 0.52, 0.53], spread),
            "first_layer": np.ones((6, 3)),
            "last_layer": np.ones((6, 3)),
        },
        "gated": {
            "lstm|parameters": np.array([400.0]),
            "gru|parameters": np.array([305.0, 405.0]),
            "lstm|weights": np.array([360.0]),
            "gru|weights": np.array([270.0, 350.0]),
            "lstm|held_out": np.array([0.1 * spread]),
            "gru|held_out": np.array([0.1 * spread, 0.09 * spread]),
        },
    }


def test_all_hold() -> None:
    assert {claim.verdict for claim in judge(made_up()).values()} == {HELD}


def change(piece: str, key: str, value: Callable[[np.ndarray], np.ndarray]) -> Arrays:
    arrays = made_up()
    arrays[piece][key] = value(arrays[piece][key])
    return arrays


WIDE = np.array([0.2, 1.0, 5.0])


@pytest.mark.parametrize(
    ("slopes", "fate"),
    [([0.03, 0.04, 0.05], "explodes"), ([-0.03, -0.04, -0.05], "vanishes"), ([-0.03, 0.0, 0.04], "neither")],
)
def test_the_largest_forget_bias_is_said_to_explode_or_vanish(slopes: list[float], fate: str) -> None:
    arrays = change("gradients", "lstm|bias", lambda a: np.concatenate([a[:-1], [slopes]]))
    said = judge(arrays)["lstm_vanishes"].measured
    assert f"forget bias {arrays['gradients']['bias'][-1]:g}: " in said
    assert said.count(f", {fate}; held were above") == 1


@pytest.mark.parametrize(
    ("claim", "arrays", "verdict"),
    [
        ("lstm_explodes", change("gradients", "lstm", lambda a: -np.abs(a)), FAILED),
        ("lstm_explodes", change("gradients", "lstm", lambda a: a * [1, 1, -1]), OPEN),
        ("lstm_vanishes", change("gradients", "lstm|bias", lambda a: 100 * a), FAILED),
        ("lstm_vanishes", change("gradients", "lstm|bias", lambda a: 5 * a * WIDE), OPEN),
        ("lstm_rate", change("rates", "lstm|held_out", lambda a: 0 * a), FAILED),
        ("loss_swings", change("rates", "elman|climbed", lambda a: 0.01 * a), FAILED),
        ("loss_swings", change("rates", "elman|climbed", lambda a: a * [0.0, 0.2, 1.0]), OPEN),
        ("clipping_helps", change("rates", "elman, clipped|held_out", lambda a: a + 9), FAILED),
        ("depth_helps", change("depth", "held_out", lambda a: a * np.array([[0.4, 1, 1, 1, 1, 1]]).T), FAILED),
        ("depth_helps", change("depth", "held_out", lambda a: a * WIDE), OPEN),
        ("four_layers", change("depth", "held_out", lambda a: a * np.array([[1, 1, 1, 1, 0.5, 1]]).T), FAILED),
        ("four_layers", change("depth", "held_out", lambda a: a * WIDE), OPEN),
        ("gru_parameters", change("gated", "gru|weights", lambda a: a + 1), FAILED),
        ("gru_quality", change("gated", "gru|held_out", lambda a: 2 * a), FAILED),
        ("gru_equal", change("gated", "gru|held_out", lambda a: a * WIDE), OPEN),
    ],
)  # fmt: skip
def test_each_may_fall(claim: str, arrays: Arrays, verdict: str) -> None:
    assert judge(arrays)[claim].verdict == verdict


def test_difference_by_hand() -> None:
    """Means 2 and 5, variances 1 and 4 of three: 2 √(5/3) to either side."""
    low, high = difference(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0]))
    assert (low, high) == pytest.approx((-3 - 2 * math.sqrt(5 / 3), -3 + 2 * math.sqrt(5 / 3)))
    assert smaller(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0])) == HELD
    assert smaller(np.ones(2), np.ones(2)) == FAILED


def test_largest_rate_by_hand() -> None:
    """Of three seeds one learns at all rates but the middle, one at the first, one at none."""
    losses = np.array([[0.1, 0.1, 2.0], [2.0, 2.0, 2.0], [0.1, 2.0, np.inf]])
    arrays = {"rate": np.array([0.01, 0.1, 1.0]), "net|held_out": losses}
    np.testing.assert_allclose(largest_rate(arrays, "net"), [1.0, 0.01, 0.001])


# --- measurements


def test_climbs_by_hand() -> None:
    """Means of ten steps 4, 2, 6, 3, then no more numbers: one rise, by ln 3."""
    loss = np.repeat([4.0, 2.0, 6.0, 3.0, np.nan], 10)
    assert climbs(loss) == pytest.approx(math.log(3))


def test_slope_against_a_loop() -> None:
    """ln ‖∂L/∂h_{T−k}‖ of a linear net is that of R^k u: the slope again by NumPy."""
    cell = Elman(3, activation="identity")
    params, _, outputs = jax.random.split(jax.random.key(7), 3)
    matrix = np.asarray(cell.init(params, 8)["recurrent"], np.float64)
    vectors = np.asarray(jax.random.normal(outputs, (16, 3)), np.float64)
    norms = []
    for _ in range(9):
        vectors = vectors @ matrix.T
        norms.append(np.median(np.linalg.norm(vectors, axis=1)))
    assert slope(cell, 9, 7) == pytest.approx(log_slope(np.array(norms)), abs=1e-5)


def test_digits_by_row() -> None:
    """The rows are those of the images, and nothing held out is trained on."""
    batch = digit_rows(jax.random.key(0), 20)
    train = np.asarray(digits("train").inputs)[:, :, 0]
    for image in np.asarray(batch.inputs).swapaxes(0, 1).reshape(20, 64):
        assert (train == image).all(1).any()
    held = held_out_rows(jax.random.key(0), 3)
    assert held.inputs.shape == (8, 540, 8)
    np.testing.assert_array_equal(held.inputs[:, 0].reshape(64), digits("validation").inputs[0, :, 0])


def test_parameters_by_hand() -> None:
    assert parameters(LSTM(5)) == 4 * (5 * 5 + 2 * 5 + 5)
    assert parameters(Elman(5)) == 5 * 5 + 2 * 5 + 5
    assert weights(LSTM(5)) == 4 * (5 * 5 + 2 * 5)
    assert weights(GRU(5)) == 3 * (5 * 5 + 2 * 5)


@pytest.mark.parametrize(
    ("given", "said"),
    [(("--seeds", 1), "--seeds must be 2 or more"), (("--lags", 1), "lags"), (("--length", 3), "length")],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_mistakes(given: tuple, said: str, refused: Callable[..., None]) -> None:
    refused(said, "claims", *given)
