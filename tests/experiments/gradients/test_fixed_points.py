"""Fixed points of flip-flop nets: of one whose points are known, and of a small trained one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root_scalar

from data import Batch, flip_flop
from experiments.gradients.fixed_points import Config, format_table, tracking
from experiments.gradients.fixed_points_measure import counts, measure, patterns
from models import Elman, SequenceTagger
from tests.data.synthetic.test_memory_tasks import KEY
from tests.experiments.command import newest_checkpoint

Finished = Callable[[str], Path]
A = float(root_scalar(lambda a: a - np.tanh(2 * a), bracket=(0.1, 1), xtol=1e-14).root)


@pytest.fixture(scope="module")
def of_three_units() -> dict[str, np.ndarray]:
    """Returns what is found of a net of three units that don't know of one another, h_i' = tanh(2 h_i + 3 u_i),
    read out as h / a with a = tanh 2a: its fixed points are the 27 of {−a, 0, a}³."""
    params: Any = {
        "params": {
            "recurrent": {
                "cell": {"kernel": 3 * jnp.eye(3), "recurrent": 2 * jnp.eye(3), "bias": jnp.zeros(3)}
            },
            "readout": {"kernel": jnp.eye(3) / A, "bias": jnp.zeros(3)},
        }
    }
    batch = flip_flop(KEY, 20, 60, 3, 0.1)
    return measure(Elman(3), SequenceTagger(Elman(3), 3), params, batch, seed=0, starts=400, noise=0.3)


@pytest.mark.slow
def test_cube_of_three_units(of_three_units: dict[str, np.ndarray]) -> None:
    """Corners, edges, faces and the middle, in that order, with as many unstable directions as units at 0."""
    found = of_three_units
    assert counts(found) == {
        "stable": 8,
        "patterns": 8,
        "saddles": {"1": 12, "2": 6, "3": 1},
        "joining_neighbours": 12,
        "index": 1,
        "slow": 0,
        "lost_starts": 0,
    }
    rounded = np.round(found["states"] / A, 6)
    assert {tuple(row) for row in rounded} == {
        (x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)
    }
    np.testing.assert_array_equal(found["unstable"], np.sum(rounded == 0, axis=1))
    np.testing.assert_array_equal(found["unstable"], np.sort(found["unstable"]))
    np.testing.assert_allclose(found["readout"], rounded, atol=1e-6)
    assert patterns(found)[:8] == ["".join("+" if x > 0 else "-" for x in row) for row in rounded[:8]]
    # Each saddle of one unstable direction leads to the two corners on its edge.
    for saddle, ends in zip(rounded[8:20], found["ends"], strict=True):
        np.testing.assert_array_equal(rounded[ends].sum(axis=0), 2 * saddle)
    distances = np.linalg.norm(found["places"][:, None] - found["places"][None], axis=-1)
    np.testing.assert_allclose(  # three axes of three: turned, nothing lost
        distances, np.linalg.norm(found["states"][:, None] - found["states"][None], axis=-1), atol=1e-6
    )


@pytest.mark.slow
def test_table(of_three_units: dict[str, np.ndarray]) -> None:
    table = format_table(Config(cell="elman"), {"mean_square_error": 0.25, "accuracy": 0.5}, of_three_units)
    lines = table.splitlines()
    assert lines[0].startswith(
        "flip-flop of 3 bits, elman, 32 units: mean square error 0.25000, 50.00% of the bits"
    )
    assert lines[2].split()[:2] == ["8", "stable,"]
    assert "12  saddle, 1 unstable direction; 12 of them lead to two patterns one bit apart" in lines[3]
    rows = [
        line.split() for line in lines if line[:3].strip("+-") == "" and line[:1] in "+-" and len(line) > 40
    ]
    assert sorted(row[0] for row in rows) == sorted(patterns(of_three_units)[:8])
    slope = 2 * (1 - A**2)  # tanh' at 2a is 1 − a²
    assert all(float(row[3]) == pytest.approx(slope, abs=1e-4) and float(row[4]) < 1e-4 for row in rows)


@pytest.mark.slow
def test_a_saddle_fewer_is_seen(of_three_units: dict[str, np.ndarray]) -> None:
    """Without one of them the signs of det(I − J) add up to 2."""
    per_point = ("fixed", "unstable", "eigenvalues", "readout")
    fewer = of_three_units | {name: np.delete(of_three_units[name], 9, axis=0) for name in per_point}
    assert counts(fewer)["index"] == 2
    assert counts(fewer)["saddles"] == {"1": 11, "2": 6, "3": 1}


def test_tracking_counts_bits() -> None:
    """Five of six signs right; a masked step counts nowhere."""
    targets = np.array([[[1, -1]], [[1, 1]], [[-1, 1]], [[-1, 1]]], np.float32)
    outputs = np.array([[[0.5, -2]], [[1, -1]], [[-1, 1]], [[9, -9]]], np.float32)
    mask = np.array([[True], [True], [True], [False]])
    measured = tracking(jnp.asarray(outputs), Batch(np.zeros((4, 1, 2)), targets, mask))
    assert [float(value) for value in measured["accuracy"]] == [5, 6]
    assert [float(value) for value in measured["mean_square_error"]] == [0.25 + 1 + 4, 6]


@pytest.mark.slow
def test_what_a_run_leaves(finished: Finished) -> None:
    folder = finished("fixed_points")
    assert newest_checkpoint(folder)[0] == 100
    results = json.loads((folder / "results.json").read_text())
    with np.load(folder / "arrays/points.npz") as arrays:
        found = dict(arrays)
    assert results["points"] == counts(found)
    assert results["points"]["index"] == 1  # of a GRU, whose state stays within −1 … 1
    assert found["states"].shape == (len(found["fixed"]), 6)
    assert found["trajectories"].shape == (12, 15, 3)
    assert found["outputs"].shape == found["targets"].shape == (15, 2)
    assert np.all(found["speed"][found["fixed"]] < 1e-8)
    table = (folder / "table.txt").read_text()
    assert f"{results['test']['accuracy']:.2%} of the bits right" in table
    drawn = {path.name for path in (folder / "figures").iterdir()}
    names = ("bits", "eigenvalues", "fixed_points", "training")
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--probability", 0], "--probability must be above 0 and at most 1, but is 0"),
        (["--noise", "nan"], "--noise must be at least 0 and finite, but is nan"),
        (["--bits", 0], "bits must be a whole number of at least 1, but is 0"),
        (["--starts", 0], "starts must be a whole number of at least 1, but is 0"),
        (["--hidden-size", 2], "--hidden-size 2 makes a state of 2: three axes need at least 3"),
        (["--direction", "both"], "--direction both reads the future and has no step"),
        (["--cell", "slstm"], "--cell slstm can write a state in more than one way"),
        (["--cell", "batch_norm_lstm"], "lets the examples of a batch see one another"),
    ],
)
def test_mistakes(arguments: list, said: str, refused: Callable[..., None]) -> None:
    refused(said, "fixed_points", *arguments)
