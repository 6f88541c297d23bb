"""Cliff: what a small run leaves, against the exact edges and a descent written out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from tests.experiments.command import arrays_bytes, command

SMALL = (
    *("cliff", "--points", 9, "--path-steps", 15, "--hidden-size", 4, "--length", 5, "--batch-size", 4),
    *("--steps", 10, "--net-path-steps", 3),
)
KINDS = ("none", "value", "norm")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "cliff"
    assert command(*SMALL, "--run-dir", folder) == 0
    return folder


def load(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / "arrays" / f"{name}.npz") as arrays:
        return dict(arrays)


@pytest.mark.full
def test_edges_and_peaks(finished: Path) -> None:
    """Two stable points exactly for −2.65561 < b < −2.34439; at T = 2,000 the peak is within 1e-4 of the edge, at
    T = 50 still 0.006 away."""
    results = json.loads((finished / "results.json").read_text())
    np.testing.assert_allclose(results["bistable"]["from"], -2.65561, atol=5e-6)
    np.testing.assert_allclose(results["bistable"]["to"], -2.34439, atol=5e-6)
    peaks = results["peak_of_sensitivity"]
    np.testing.assert_allclose(peaks["T = 2000"], -2.34439, atol=1e-4)
    np.testing.assert_allclose(peaks["T = 50"] + 2.34439, 0.006, atol=0.001)
    bends = load(finished, "bifurcation")
    # A fixed grid, 4e-6 apart, drew 1.3e4.
    assert bends["T = 2000"].max() == pytest.approx(3.34e7, rel=0.01)
    table = (finished / "table.txt").read_text()
    assert "for -2.65561 < b < -2.34439" in table


@pytest.mark.full
def test_paths_by_hand(finished: Path) -> None:
    """The three descents of one unit by a NumPy loop with its gradient by the chain rule, in double precision."""
    arrays = load(finished, "one_unit")

    def loss_and_gradient(w: float, b: float) -> tuple[float, np.ndarray]:
        x, slope = 0.0, np.zeros(2)
        for _ in range(50):
            s = expit(x)
            x, slope = w * s + b, np.array([s, 1.0]) + w * s * (1 - s) * slope
        s = expit(x)
        return (s - 0.7) ** 2, 2 * (s - 0.7) * s * (1 - s) * slope

    for kind in KINDS:
        point = np.array([4.816949, -2.057143])
        for i in range(16):
            value, gradient = loss_and_gradient(*point)
            np.testing.assert_allclose(arrays[f"{kind}|where"][i], point, rtol=1e-5)
            np.testing.assert_allclose(arrays[f"{kind}|loss"][i], value, rtol=1e-4, atol=1e-9)
            if kind == "value":
                gradient = np.clip(gradient, -0.3, 0.3)
            elif kind == "norm":
                gradient = gradient * min(1, 0.3 / np.linalg.norm(gradient))
            point = point - 0.5 * gradient
            if np.abs(point).max() > 50:
                break  # it leapt, and 50 steps of rounding tell apart what comes after


@pytest.mark.full
def test_without_clipping_it_leaps(finished: Path) -> None:
    """Its longest step is many times the bound on the others', which is rate · clip (√2 of it by value)."""
    where = {kind: load(finished, "one_unit")[f"{kind}|where"] for kind in KINDS}
    longest = {kind: np.linalg.norm(np.diff(path, axis=0), axis=1).max() for kind, path in where.items()}
    assert longest["norm"] <= 0.15 * (1 + 1e-9)
    assert longest["value"] <= 0.15 * 2**0.5 * (1 + 1e-9)
    assert longest["none"] > 10 * longest["value"]


@pytest.mark.full
def test_the_net_begins_at_its_steepest_place(finished: Path) -> None:
    arrays = load(finished, "net")
    place, norms = int(arrays["place"]), arrays["training_norm"]
    assert place == np.argmax(norms)
    for kind in KINDS:
        np.testing.assert_allclose(arrays[f"{kind}|where"][0], [0, 0], atol=1e-6)
        np.testing.assert_allclose(arrays[f"{kind}|loss"][0], arrays["training_loss"][place], rtol=1e-5)
        for prefix, share in (("", float(arrays["inside"])), ("free_", 1.0)):
            np.testing.assert_allclose(
                arrays[f"{kind}|{prefix}loss"][0], arrays["training_loss"][place], rtol=1e-5
            )
            norm = arrays[f"{kind}|{prefix}gradient_norm"][0]
            np.testing.assert_allclose(norm, share * norms[place], rtol=1e-4)
    assert 0 < arrays["inside"] <= 1 + 1e-5
    steps = np.linalg.norm(np.diff(arrays["norm|where"], axis=0), axis=1)
    # The rate times the bound: the plane measures distances between parameters.
    assert steps.max() <= 0.3 * 0.3 * (1 + 1e-4)
    middle = arrays["loss"][4, 4]  # the plane's own origin
    np.testing.assert_allclose(middle, arrays["none|loss"][0], rtol=1e-5)


@pytest.mark.full
def test_resumed_run_keeps_what_it_has(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "results.json").unlink()
    (folder / "arrays/one_unit.npz").unlink()
    assert command(*SMALL, "--resume", folder) == 0
    assert capsys.readouterr().out.count("measured before") == 2
    assert arrays_bytes(folder) == arrays_bytes(finished)
    assert (folder / "table.txt").read_bytes() == (finished / "table.txt").read_bytes()
    for path in (finished / "figures").glob("*.png"):
        assert path.stat().st_size > 5_000
        assert (folder / "figures" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--rate", 0), "--rate must be above 0 and finite, but is 0"),
        (("--net-clip-at", -1), "--net-clip-at must be above 0 and finite, but is -1"),
        (("--weight", "nan"), "--weight must be finite, but is nan"),
        (("--points", 1), "points"),
        (("--length", 3), "length"),
        (("--cell", "elman("), "can't read the cell"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_mistakes(given: tuple, said: str, refused: Callable[..., None]) -> None:
    refused(said, "cliff", *given)
