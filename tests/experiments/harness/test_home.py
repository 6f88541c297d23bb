"""Folders and files named like packages of Unroll are named; the command `unroll` finds its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.harness.home import PACKAGES, check_home, place

ROOT = Path(__file__).parents[3]
SCRIPT = "import sys; from experiments.__main__ import console; sys.argv[0] = 'unroll'; console()"


def process(folder: Path, *words: str, safe: bool = False) -> subprocess.CompletedProcess[str]:
    """A process in a folder, which with `safe` isn't searched, as for an installed command."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    flags = ["-P"] if safe else []
    command = [sys.executable, *flags, *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_own_packages_are_found() -> None:
    check_home()
    assert [place(name) for name in PACKAGES] == [ROOT / name for name in PACKAGES]
    assert place("no_such_package") is None


@pytest.mark.parametrize(("file", "name"), [("models/__init__.py", "models"), ("train.py", "train")])
def test_hidden_package_is_named(file: str, name: str, tmp_path: Path) -> None:
    """By `python -m experiments` and by `import unroll`, in one sentence; the command `unroll` isn't misled."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    found = tmp_path / file.removesuffix("/__init__.py")
    sentence = f"{name} is {found}, which hides Unroll's own package {name}: "
    refused = process(tmp_path, "-m", "experiments", "contract")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {sentence}")
    imported = process(tmp_path, "-c", "import unroll")
    assert sentence in imported.stderr.splitlines()[-1]
    console = process(tmp_path, "-c", SCRIPT, "contract", safe=True)
    assert console.returncode == 2
    assert console.stderr.startswith("usage: ")


def test_another_project_called_experiments(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").touch()
    """An installed Unroll finds what that project lacks, and names it; else an import fails first."""
    said = process(tmp_path, "-c", "import unroll").stderr.splitlines()[-1]
    first = "experiments is another package than Unroll's, which it hides: "
    assert first in said or f"experiments is {tmp_path / 'experiments'}, which hides Unroll's own" in said


def test_public_names() -> None:
    import unroll

    assert not [name for name in unroll.__all__ if not hasattr(unroll, name)]
    assert unroll.unroll is unroll.models.unroll
