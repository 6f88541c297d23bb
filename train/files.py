"""Files written atomically (a kill leaves the old file or the new one, and no link is followed) and read with
checks; modules of users' files."""

import errno
import importlib.util
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

MAX_DEPTH = 50  # of JSON: a run nests up to 8
MAX_INTEGER = 2**63  # in JSON
_LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.tmp")


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that is synced and renamed to `path` when the block ends; on failure it is removed.

    The temporary file is in the same folder under a random name. A link at `path` is replaced; its target is not
    changed. Raises OSError that names `path`.

        with atomic_file(folder / "x.npz") as file:
            np.savez(file, x=x)
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        temporary.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Writes bytes, or text as UTF-8, by `atomic_file`. Surrogates of undecodable file names become escapes."""
    with atomic_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))


def is_leftover(name: str) -> bool:
    """Returns True for the name of a temporary file that a killed `atomic_file` leaves behind."""
    return _LEFTOVER.fullmatch(name) is not None


def open_no_follow(name: str, flags: int) -> int:
    """Opens a file unless it is a link: the `opener` for files that are appended to.

    Raises OSError (ELOOP) for a link.
    """
    try:
        # Never waits for the other end of a pipe (ENXIO).
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "it is a link"
        raise


def check_name(folder: Path) -> None:
    """Raises ValueError for a folder whose path isn't UTF-8, which Orbax doesn't support."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{folder.absolute()} is not UTF-8, and checkpoints can't be kept there: choose another folder"
        ) from None


class StoredMapping(dict[str, Any]):
    """The named content of a file, where a missing name means that the file is damaged.

    Raises:
        ValueError: by `[name]`, naming the file and the missing name.
    """

    def __init__(self, path: Path, content: Any = ()) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self.path} is damaged: it has no {name!r}; restore it, or make the run again")


def read_file(path: Path) -> bytes:
    """Reads a regular file without blocking. Raises ValueError for a pipe, a folder or a device."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(f"{path} is damaged: it is not a regular file; remove it or restore it")
        return file.read()


def parse_json(path: Path, text: str | bytes) -> Any:
    """Parses JSON that was read from `path`; every object in it becomes a `StoredMapping`.

    Raises ValueError if it isn't JSON, nests deeper than `MAX_DEPTH`, or has text or numbers that a run never
    writes: a lone surrogate, an integer beyond 64 bits.
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


def load_module(path: Path) -> ModuleType:
    """Loads a user's file as a module, once a process: classes loaded twice would not be equal."""
    name = f"file_{path.stem}_{abs(hash(path)):x}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ValueError(f"{path} can't be read as a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look themselves up here while they are defined
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
            raise ValueError(f"{path}{line} can't be loaded: {type(error).__name__}: {error}") from error
    return sys.modules[name]


def _check_plain(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, str):
        value.encode("utf-8", "surrogateescape")  # the encoding of file names that aren't UTF-8
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("too large")
    elif isinstance(value, list):
        for item in value:
            _check_plain(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_plain(name, depth + 1)
            _check_plain(item, depth + 1)
