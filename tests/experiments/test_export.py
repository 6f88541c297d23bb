"""`export`: the best parameters of a run in a safetensors file; bad paths are refused with exit code 2."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models import Elman, from_safetensors, from_torch, to_torch
from tests.experiments.command import command
from train import Checkpoints


def test_what_is_written(
    finished: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best checkpoint's arrays under their names, of which PyTorch's are made."""
    run, path = finished("adding"), tmp_path / "w.safetensors"
    capsys.readouterr()
    assert command("export", run, path) == 0
    printed, found = capsys.readouterr().out, from_safetensors(path)
    checkpoints = Checkpoints(run / "checkpoints")
    best = checkpoints.best()
    assert best is not None
    expected = checkpoints.restore_params(best)
    assert {f"params/{name}" for name in found} == expected.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[f"params/{name}"])
        assert f"{name} " in printed
    assert f"of step {best:,}, the best checkpoint" in printed
    cell = from_safetensors(path, prefix="recurrent/cell")
    back = from_torch(Elman(6), to_torch(Elman(6), cell))
    assert all(np.array_equal(back[name], cell[name]) for name in cell)
    assert command("export", run, path, "--newest") == 0
    assert "the newest checkpoint" in capsys.readouterr().out


def test_refused(finished: Callable[[str], Path], mistake: Callable[..., str], tmp_path: Path) -> None:
    run = finished("adding")
    assert "FILE must end in .safetensors, but is w.bin" in mistake("export", run, "w.bin")
    assert "in a folder that isn't there: no" in mistake("export", run, "no/w.safetensors")
    assert "is not a run folder" in mistake("export", tmp_path, "w.safetensors")
    assert "trains no net" in mistake("export", finished("ngram"), "w.safetensors")
    several = shutil.copytree(run, tmp_path / "several")
    for net in "ab":
        shutil.copytree(run / "checkpoints", several / "nets" / net / "checkpoints")
    shutil.rmtree(several / "checkpoints")
    assert "--net must be one of nets/a, nets/b, but is c" in mistake(
        "export", several, "w.safetensors", "--net=c"
    )
    assert "but is not given" in mistake("export", several, "w.safetensors")
    assert command("export", several, tmp_path / "w.safetensors", "--net=nets/b") == 0
