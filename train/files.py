"""Atomic writing of files: a kill leaves the old file or the new one, and no symbolic link is followed."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_LEFTOVER = re.compile(r"\.[0-9a-f]{16}\.tmp")


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that is synced and renamed to `path` when the block ends; on failure it is removed.

    The temporary file is in the same folder under a random name. A link at `path` is replaced; its target is not
    changed. Raises OSError that names `path`.

        with whole_file(folder / "x.npz") as file:
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
