"""A lock that lets one process at a time write in a run's folder."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path
from typing import IO

from train.files import open_no_follow

LOCK = ".lock"
_held: dict[Path, IO[bytes]] = {}  # by folder, open as long as it is held


def acquire(folder: Path) -> None:
    """Locks a folder until `release`, or until this process ends, however it ends.

    Raises ValueError, with the process id, where another process holds the lock.
    """
    path = folder / LOCK
    while True:
        file = open(path, "a+b", buffering=0, opener=open_no_follow)  # noqa: SIM115  (open as long as it is held)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().decode(errors="replace").strip() or "another process"
            file.close()
            raise ValueError(
                f"{folder} is being written by {who}: wait until it ends, or stop it, or choose another --run-dir"
            ) from None
        except OSError:
            break  # a file system without locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # the holder deleted it after we opened it: the lock is on a file that nobody else will find
    _held[folder] = file
    with contextlib.suppress(OSError):  # on a full disk the lock holds without a name in it
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())


def holder(folder: Path) -> str:
    """Returns the holder of a folder's lock, as `process 12 on HOST`; empty if there is none."""
    try:
        with open(folder / LOCK, "rb", opener=open_no_follow) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().decode(errors="replace").strip() or "another process"
    except OSError:  # there is no such file, or no locks on this file system
        pass
    return ""


def release() -> None:
    """Releases the folders that this process holds."""
    while _held:
        folder, file = _held.popitem()
        (folder / LOCK).unlink(missing_ok=True)
        file.close()


def held_folders() -> list[Path]:
    """Returns the folders that this process holds."""
    return list(_held)
