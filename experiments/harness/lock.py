"""One process at a time in a run's folder, and what to say where the system refuses to write in it."""

import contextlib
import errno
import fcntl
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from experiments.harness.options import option_name
from train import NotSaved
from train.files import unlinked

LOCK = ".lock"
_held: dict[Path, IO[bytes]] = {}  # by folder, open as long as it is held

# How a sentence begins that says what a field of a config can't be.
_FIELD = re.compile(r"([a-z]\w*(?:\.\w+)*)(?= must be | is )")

_MENDS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.ELOOP: "remove it, or put there the file that it leads to",
    errno.EMFILE: "let this process open more files (ulimit -n)",
    errno.ENFILE: "close what else holds files open on this machine",
}


def acquire(folder: Path) -> None:
    """Holds a folder until `release`, or the end of this process however it comes.

    Raises ValueError, with the process's number, where another one holds it.
    """
    path = folder / LOCK
    while True:
        file = open(path, "a+b", buffering=0, opener=unlinked)  # noqa: SIM115  (open as long as it is held)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().decode().strip() or "another process"
            file.close()
            raise ValueError(
                f"{folder} is being written by {who}: wait until it ends, or stop it, or choose another --run-dir"
            ) from None
        except OSError:
            break  # a file system without locks: then nobody can tell
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # who held it took it away between our opening and our locking: that file is nobody's
    _held[folder] = file
    with contextlib.suppress(OSError):  # a full disk holds a lock, if not who has it
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())


def holder(folder: Path) -> str:
    """Names who holds a folder, as `process 12 on HOST`; empty where nobody does."""
    try:
        with (folder / LOCK).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().decode().strip() or "another process"
    except OSError:  # there is no such file, or no locks on this file system
        pass
    return ""


def release() -> None:
    """Lets go of what this process holds."""
    while _held:
        folder, file = _held.popitem()
        (folder / LOCK).unlink(missing_ok=True)
        file.close()


def in_a_sentence(error: Exception, arguments: Sequence[str] = ()) -> str:
    """An error in a sentence: a field of a config as the option that was given for it; of one of the system's what
    was refused, where, and how to go on."""
    if not isinstance(error, OSError) or error.errno not in _MENDS:
        said = str(error)
        field = _FIELD.match(said)
        option = option_name(field[1]) if field else ""
        given = any(argument.split("=")[0] == option for argument in arguments)
        return option + said.removeprefix(field[1]) if field and given else said
    if isinstance(error, NotSaved):
        said = str(error)
    else:
        path = Path(error.filename or "")
        where = path.parent if path.name == LOCK and error.errno != errno.ELOOP else path
        may = "written" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ELOOP) else "opened"
        what = f"{where} can't be {may}" if error.filename else "writing failed"
        said = f"{what} ({(error.strerror or os.strerror(error.errno)).lower()})"
    begun = [folder for folder in _held if (folder / "config.json").is_file()]
    then = f", and go on with the same command and --resume {begun[0]}" if begun else ""
    return f"{said}: {_MENDS[error.errno]}{then}"
