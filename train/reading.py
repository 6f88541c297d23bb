"""Files read with suspicion: whatever has become of one, reading it ends in its content or in one sentence."""

import json
import os
import stat
from pathlib import Path
from typing import Any

DEEPEST = 50  # of JSON: nothing of ours nests deeper than 8
WIDEST = 2**63  # of a whole number in JSON


class StoredMapping(dict[str, Any]):
    """What a file holds by name. A name that it lacks is damage to the file.

    Raises:
        ValueError: by `[name]`, naming the file and what it lacks.
    """

    def __init__(self, path: Path, content: Any = ()) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self.path} is damaged: it has no {name!r}; restore it, or make the run again")


def read_file(path: Path) -> bytes:
    """Reads a regular file. Raises ValueError for a pipe, a folder or a device in its place, and never waits."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path} is damaged: it is no regular file; remove it or restore it")
        return file.read()


def parse_json(path: Path, text: str | bytes) -> Any:
    """Parses JSON that was read from `path`; every object in it is a `StoredMapping`.

    Raises ValueError where it isn't JSON, nests deeper than `DEEPEST`, or holds text or numbers that nothing of
    ours writes: half a character, a whole number beyond 64 bits.
    """
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: StoredMapping(path, pairs))
        _check_plain(content)
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: it isn't JSON that a run writes; restore it") from None
    return content


def read_json(path: Path) -> Any:
    """Reads a JSON file by `read_file` and `parse_json`."""
    return parse_json(path, read_file(path))


def _check_plain(value: Any, depth: int = 0) -> None:
    if depth > DEEPEST:
        raise ValueError("too deep")
    if isinstance(value, str):
        value.encode("utf-8", "surrogateescape")  # as names of files that aren't UTF-8 are written
    elif isinstance(value, int) and abs(value) > WIDEST:
        raise ValueError("too large")
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_plain(name, depth + 1)
            _check_plain(item, depth + 1)
