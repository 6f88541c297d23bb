"""`python -m experiments contract CELL …` as an author of a cell uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments import contract
from tests.experiments.command import LEAKY

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_good_file(leaky: str) -> None:
    """A real process, for `-m` must find the packages."""
    done = subprocess.run(
        [sys.executable, "-m", "experiments", "contract", leaky],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    header, *lines, last = done.stdout.splitlines()
    assert header.startswith("Leaky(hidden_size=4, alpha=0.3")
    assert lines == [f"  ok      {name.replace('_', ' ')}" for name in contract.CHECKS]
    assert last == "all passed"


def test_broken_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient cut off by hand: the Jacobian is wrong, and so it is said; what is right passes."""
    checks = {name: contract.CHECKS[name] for name in ("protocol", "jacobian")}
    monkeypatch.setattr(contract, "CHECKS", checks)
    path = tmp_path / "mine.py"
    path.write_text(LEAKY.replace("+ state @", "+ jax.lax.stop_gradient(state) @"))
    assert contract.main(["elman", f"{path}:Leaky"]) == 1
    said = capsys.readouterr().out
    good, bad = said.split("Leaky(hidden_size=4")
    assert good.count("  ok  ") == 2
    assert bad.count("  ok  ") == 1
    assert "  FAILED  jacobian: AssertionError: the Jacobian differs from finite differences by " in bad
    assert said.splitlines()[-1] == "1 failed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: python -m experiments contract CELL …"),
        (["lsmt"], "error: unknown cell 'lsmt': did you mean lstm?"),
        (["nowhere.py:Mine"], "error: there is no cell file nowhere.py"),
    ],
)
def test_unknown(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert contract.main(arguments) == 2
    assert said in capsys.readouterr().err
