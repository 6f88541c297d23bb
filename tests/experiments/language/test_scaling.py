"""Nets of several sizes at equal time: what a run leaves, its power law, and a resumed run."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.language import scaling
from experiments.language.scaling_report import law_of, power_law
from experiments.language.sizes import NETS
from tests.experiments.command import command, prepared_apart

pytestmark = pytest.mark.usefixtures("somewhere_else")
NAMES = ("small_gpt_1x32", "small_lstm_128")
OPTIONS = ("--nets", *NAMES, "--steps", 3, "--devices", 1)


def test_power_law() -> None:
    sizes = np.array([1e4, 1e5, 1e6])
    a, b, deviation = power_law(sizes, 5 * sizes**-0.08)
    assert (a, b) == pytest.approx((5, 0.08))
    assert deviation < 1e-12
    assert power_law(sizes, 5 * sizes**-0.08 * [1, 1.1, 1])[2] > 0.05


def test_a_law_compares_transformers_of_equal_time() -> None:
    def net(size: float, minutes: float, windows: bool = True) -> dict[str, np.ndarray]:
        found = {
            "parameters": size,
            "cross_entropy": 3 * size**-0.1,
            "steps": 60 * minutes,
            "seconds_a_step": 1,
        }
        return {
            name: np.array(value) for name, value in (found | ({"own_windows": 1} if windows else {})).items()
        }

    nets = {
        "a": net(1e3, 5),
        "b": net(1e4, 5.5),
        "c": net(1e5, 7),
        "long": net(1e2, 30),
        "lstm": net(7, 4, False),
    }
    found = law_of(nets)
    assert found is not None
    assert found[:2] == pytest.approx((3, 0.1))
    assert law_of({name: nets[name] for name in ("a", "b", "long", "lstm")}) is None


def test_no_net_ends_before_its_schedule() -> None:
    for net in NETS.values():
        net.optimizer.for_run(net.loop.steps, net.loop.eval_every)
        assert net.loop.eval_every < net.loop.steps


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--nets", "gpt_9x9"), "--nets 'gpt_9x9' is unknown: there are"),
        (("--steps", 0), "--steps must be a whole number of at least 1"),
    ],
)
def test_wrong_options(
    options: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("scaling", *options, "--run-dir", tmp_path / "run") == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_a_run_leaves(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = (*OPTIONS, "--data.dir", text)
    run = prepared_apart(tmp_path / "run", "scaling", *options)
    results = json.loads((run / "results.json").read_text())
    assert set(results) == {"sources", *NAMES}
    gpt, lstm = (results[name] for name in NAMES)
    assert gpt["steps"] == lstm["steps"] == 3
    assert "own_windows" in gpt
    assert "own_windows" not in lstm
    assert gpt["seconds_a_step"] > 0
    assert {path.stem for path in (run / "figures").iterdir()} == {"loss_against_size_and_time"}
    assert all(name in (run / "table.txt").read_text() for name in NAMES)

    # Trained on: only the net whose arrays are missing.
    kept = (run / "arrays" / "nets" / "small_gpt_1x32.npz").read_bytes()
    (run / "arrays" / "nets" / "small_lstm_128.npz").unlink()
    scored = []
    monkeypatch.setattr(scaling, "scored", lambda *given, own=scaling.scored: scored.append(1) or own(*given))
    assert command("scaling", *options, "--resume", run) == 0
    assert len(scored) == 1
    assert (run / "arrays" / "nets" / "small_gpt_1x32.npz").read_bytes() == kept
