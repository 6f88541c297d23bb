"""The Python files that a config names, and whether they may be executed."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.harness.files import environments
from experiments.harness.options import flat

# In front of a whole expression a file may have any name; within brackets one without spaces, quotes and brackets.
_FIRST = re.compile(r"(?!\s*\w+\s*\()(.+?\.py):")
_INSIDE = re.compile(r"(?<=[=(,\[\s])([^\s=(),\[\]'\":]+\.py):(?=\s*\w)")
_PLACE = re.compile(r"\b_file(\d+)\.")


def take_files(expression: str) -> tuple[str, tuple[str, ...]]:
    """Returns a cell expression as Python syntax, and the names of the files in it in their order:
    `a/b.py:MyCell(cell=c.py:Other)` → (`_file0.MyCell(cell=_file1.Other)`, ("a/b.py", "c.py"))."""
    files: list[str] = []

    def taken(match: re.Match[str]) -> str:
        files.append(match[1])
        return f"_file{len(files) - 1}."

    first = _FIRST.match(expression)
    rest = expression if first is None else taken(first) + expression[first.end() :]
    return _INSIDE.sub(taken, rest), tuple(files)


def put_files(text: str, files: tuple[str, ...]) -> str:
    """Inverts `take_files`."""
    return _PLACE.sub(
        lambda match: f"{files[int(match[1])]}:" if int(match[1]) < len(files) else match[0], text
    )


def cell_file(name: str) -> Path:
    """Returns the path of the file that a cell expression names; a `~` without a known home stays as it is."""
    return Path(os.path.expanduser(name))


def cell_files(described: Mapping[str, Any]) -> dict[str, str]:
    """Returns the SHA-256 of every existing cell file that the config names, by the name written there."""
    values: list[Any] = []
    for value in flat(described["config"]).values():
        values += value if isinstance(value, list) else [value]
    named = [name for value in values if isinstance(value, str) for name in take_files(value)[1]]
    files = {name: cell_file(name) for name in named}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()
    }


def check_trusted(folder: Path, described: Mapping[str, Any], then: str = "add --trust") -> None:
    """Raises ValueError if the config names a Python file and the run is outside the current folder or the file has
    changed since the run recorded it."""
    files = cell_files(described)
    if not files:
        return
    recorded = environments(folder)[-1].get("cell_files", {})
    for name, digest in files.items():
        if not folder.resolve().is_relative_to(Path.cwd().resolve()):
            reason = f"{folder} is not under the current folder"
        elif recorded.get(name) != digest:
            reason = "it is not the file that the run was trained with"
        else:
            continue
        raise ValueError(
            f"the config of {folder} executes the Python file {name}, and {reason}: read it, then {then}"
        )
