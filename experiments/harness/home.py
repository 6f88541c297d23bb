"""Unroll's packages have common names: a check that those found are its own."""

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("experiments", "models", "data", "train", "analysis")


class HiddenPackage(ImportError, ValueError):
    """Another package or folder has the name of one of Unroll's, and is found first: a user's mistake."""


def check_home() -> None:
    """Raises HiddenPackage if a folder or module of the same name hides one of Unroll's packages."""
    home = Path(__file__).resolve().parents[2]
    for name in PACKAGES:
        found = place(name)
        if found is not None and found != (home / name).resolve():
            raise HiddenPackage(
                f"{name} is {found}, which hides Unroll's own package {name}: start Python in another folder, "
                "or use the command unroll, which searches no current folder",
                name=name,
            )


def place(name: str) -> Path | None:
    """Returns where Python finds a package, or the file of a module; None where it finds nothing."""
    spec = sys.modules[name].__spec__ if name in sys.modules else find_spec(name)
    if spec is None:
        return None
    first = next(iter(spec.submodule_search_locations or [spec.origin]), None)
    return None if first is None else Path(first).resolve()
