"""The wheel: an installation holds every package of ours, and what stands beside its modules."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("unroll", "models", "train", "data", "analysis", "experiments")


def test_wheel_holds_every_file(tmp_path: Path) -> None:
    """Built from what git holds, without a network."""
    tracked = subprocess.run(["git", "ls-files", *PACKAGES, "pyproject.toml", "README.md", "LICENSE"], cwd=ROOT,
                             capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    for name in tracked:
        copy = tmp_path / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    build = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=tmp_path / "source", capture_output=True, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = {name for name in tracked if name.startswith(PACKAGES) and not name.endswith(".md")}
    assert wanted <= held
    assert len(wanted) > 150
