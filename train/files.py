"""Files written whole and in their place: a kill leaves the old one or the new one, and no link is followed."""

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
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a fresh file that takes the name `path` when the block ends, on disk; if it fails, nothing is left.

    The fresh file stands beside `path` under a name that can't be foreseen. A link at `path` is replaced, and what
    it leads to stays as it is. Raises OSError that names `path`.

        with whole_file(folder / "x.npz") as file:
            np.savez(file, x=x)
    """
    fresh = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with fresh.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(fresh)):
            error.filename = str(path)
        fresh.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Writes bytes, or text as UTF-8, by `whole_file`. Bytes of a file's name that aren't UTF-8 show as escapes."""
    with whole_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))


def is_leftover(name: str) -> bool:
    """Tells whether a file's name is one of those that a killed `whole_file` leaves behind."""
    return _LEFTOVER.fullmatch(name) is not None


def unlinked(name: str, flags: int) -> int:
    """Opens a file, but no link: the `opener` of files that are added to.

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
    """Raises ValueError for a folder whose path isn't UTF-8: Orbax can neither write nor read checkpoints there."""
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{folder.absolute()} is not UTF-8, and checkpoints can't be kept there: choose another folder"
        ) from None
