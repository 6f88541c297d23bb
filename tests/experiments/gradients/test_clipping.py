"""Clipping: what a small run leaves, what counts as diverged, and what a resumed run keeps."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from experiments.gradients.clipping_report import block, climb, curve, diverged, learnt, summary
from tests.experiments.command import arrays_bytes, command

SMALL = (
    *("clipping", "--problems", "adding", "--clips", "none", "value", "--rates", 0.01, 3.0),
    *(
        "--seeds",
        2,
        "--hidden-size",
        4,
        "--batch-size",
        4,
        "--order-length",
        5,
        "--adding-length",
        8,
        "--steps",
        20,
    ),
    *("--adding-cell", "elman(activation=identity, recurrent_init=identity(gain=3))", "--optimizer", "sgd"),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "clipping"
    assert command(*SMALL, "--run-dir", folder) == 0
    return folder


@pytest.mark.full
def test_what_a_run_leaves(finished: Path) -> None:
    """A linear net that triples itself diverges at rate 3 without clipping, beyond floating point."""
    results = json.loads((finished / "results.json").read_text())
    assert results["adding"]["none"]["3"]["diverged"] == 2
    assert results["adding"]["none"]["3"]["not_finite"] == 2
    assert "loss" not in results["adding"]["none"]["3"]
    assert results["adding"]["value"]["0.01"]["not_finite"] == 0
    assert all(row["clipped"] == 0 for row in results["adding"]["none"].values())
    assert results["adding"]["value"]["0.01"]["clipped"] > 0
    with np.load(finished / "arrays/adding_value.npz") as arrays:
        assert arrays["loss"].shape == (2, 2, 20)
        assert arrays["held_out"].shape == (2, 2)
    pictures = {path.name for path in (finished / "figures").glob("*.png")}
    assert pictures == {"outcomes.png", "curves_adding.png"}
    table = (finished / "table.txt").read_text()
    assert "inf (2; 0%)" in table
    assert [line.split()[0] for line in table.splitlines()[3:5]] == ["none", "value"]


@pytest.mark.full
def test_resumed_run_keeps_what_it_has(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One piece is lost and made again, with the same bits; the others are left alone."""
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "results.json").unlink()
    (folder / "arrays/adding_value.npz").unlink()
    kept = (folder / "arrays/adding_none.npz").stat().st_mtime_ns
    assert command(*SMALL, "--resume", folder) == 0
    assert capsys.readouterr().out.count("trained before") == 1
    assert (folder / "arrays/adding_none.npz").stat().st_mtime_ns == kept
    assert arrays_bytes(folder) == arrays_bytes(finished)
    for name in ("results.json", "table.txt", "figures/outcomes.png"):
        assert (folder / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.full
def test_inspect_draws_the_same(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(folder / "figures")
    assert command("inspect", folder) == 0
    for path in (finished / "figures").iterdir():
        assert (folder / "figures" / path.name).read_bytes() == path.read_bytes()


def test_outcomes_by_hand() -> None:
    """Below half of ln 4 a net has learnt, above twice it has diverged, and so has one that isn't finite."""
    arrays = {"held_out": math.log(4) * np.array([[0.49, 0.51, 1.99, 2.01, math.inf]])}
    np.testing.assert_array_equal(learnt("temporal_order", arrays), [[True, False, False, False, False]])
    np.testing.assert_array_equal(diverged("temporal_order", arrays), [[False, False, False, True, True]])
    shown = block("temporal_order", {"none": arrays | {"clipped": np.full((1, 5), 0.25)}}, [0.1])
    assert shown.splitlines()[-1].split() == ["none", "2.8", "(2;", "25%)"]


def test_climb_by_hand() -> None:
    """Means of ten steps 4, 2, 6, 3, then no more numbers: one rise, by ln 3."""
    assert climb(np.repeat([4.0, 2.0, 6.0, 3.0, np.nan], 10)) == pytest.approx(math.log(3))


def test_results_list_every_net() -> None:
    """Of two nets at one rate the second diverged: it has no held-out loss."""
    norm, loss = np.full((1, 2, 20), 2.0), np.ones((1, 2, 20))
    norm[0, 1, 3], norm[0, 1, 4:], loss[0, 1, 4:] = 7.0, np.nan, np.nan
    arrays = {"held_out": np.array([[0.5, np.inf]]), "clipped": np.zeros((1, 2))}
    arrays |= {"norm": norm, "loss": loss, "steps": np.array([[20, 4]])}
    row = summary([0.1], "adding", arrays)["0.1"]
    assert (row["losses"], row["largest_norms"], row["climbs"]) == ([0.5, None], [2.0, 7.0], [0.0, 0.0])
    json.dumps(row, allow_nan=False)


def test_curve_by_hand() -> None:
    """Means over ten steps, the median of three nets; not finite once two of them aren't."""
    losses = np.repeat([[1.0, 4.0, 2.0], [2.0, np.nan, 1.0], [9.0, 6.0, np.nan]], 10, axis=1)
    losses[1, 20:] = np.nan
    found = curve(losses)
    np.testing.assert_allclose(found["step"], [5, 15, 25])
    np.testing.assert_allclose(found["value"], [2, 6, np.inf])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--rates",), "--rates is empty: give at least one"),
        (("--rates", 0.1, 0.1), "--rates names one twice: 0.1 0.1"),
        (("--rates", 0.3, 0.1), "--rates must rise, but are 0.3 0.1"),
        (("--rates", -1), "--rates must be above 0 and finite, but is -1"),
        (("--clips",), "--clips is empty"),
        (("--problems", "adding", "adding"), "--problems names one twice"),
        (("--norm-at", 0), "--norm-at must be above 0 and finite, but is 0"),
        (("--seeds", 0), "seeds"),
        (("--order-length", 3), "--order-length must be a whole number of at least 4, but is 3"),
        (("--adding-cell", "elmann"), "unknown cell 'elmann': did you mean elman?"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_mistakes(given: tuple, said: str, refused: Callable[..., None]) -> None:
    refused(said, "clipping", *given)
