"""The Python files that a config names, and whether they may be executed."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.harness.files import environments
from experiments.harness.options import flat

_FILE = re.compile(r"(.+\.py):")


def cell_file(name: str) -> Path:
    """Returns the path of the file that a cell expression names; a `~` without a known home stays as it is."""
    return Path(os.path.expanduser(name))


def cell_files(described: Mapping[str, Any]) -> dict[str, str]:
    """Returns the SHA-256 of every existing cell file that the config names, by the name written there."""
    values: list[Any] = []
    for value in flat(described["config"]).values():
        values += value if isinstance(value, list) else [value]
    named = [match[1] for value in values if isinstance(value, str) and (match := _FILE.match(value))]
    files = {name: cell_file(name) for name in named}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()
    }


def check_trusted(folder: Path, described: Mapping[str, Any]) -> None:
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
            f"the config of {folder} executes the Python file {name}, and {reason}: read it, then add --trust"
        )
