"""Folders of prepared data: written once, verified on every use, whole or not there."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

MANIFEST = "prepared.json"
_FORMAT = 4  # of the cache; data in another format are prepared again
_TEMPORARY = re.compile(r".+\.making-[0-9a-f]{16}", re.DOTALL)
_ABANDONED = 24 * 3600  # seconds after which nobody is still writing a temporary folder

T = TypeVar("T")
Written = tuple[dict[str, bytes], dict[str, Any]]  # files and details


def prepare_once(
    folder: Path | None,
    *,
    name: str,
    options: dict[str, Any],
    sources: dict[str, str],
    prepare: Callable[[], T],
    write: Callable[[Path, T], Written],
    read: Callable[[Path, dict[str, Any]], T],
) -> T:
    """Returns what `prepare()` does, which is called once and written; afterwards it is read.

    `folder` is by default one in the user's cache folder, named after `name` and a checksum of `options` and
    `sources` (the checksums of the files): all that the data depend on. `write(folder, data)` writes what libraries
    write there, and returns further files, by name, and details, as JSON, which `read(folder, details)` is given.

    `prepared.json` holds the settings, the details and a SHA-256 of every file written, and of itself. The folder
    appears by one rename, so that a kill or a full disk can't leave an incomplete one. A damaged folder is prepared
    again with a notice, but files that weren't written here are never removed. A named folder prepared with other
    options or from other files is rejected and not replaced.

    Raises ValueError for a folder that is another's, can't be named, or holds the user's files.
    """
    settings = {"form": _FORMAT, "options": options, "sources": sources}
    folder = folder or _default_folder(name, settings)
    _check_name(folder)
    damaged = False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        try:
            return read(folder, _verify(folder, settings))
        except _Damaged as damage:
            damaged = True
            print(f"the prepared data in {folder} are damaged ({damage}): preparing them again", flush=True)
    data = prepare()
    _write(folder, settings, lambda temporary: write(temporary, data), damaged=damaged)
    return data


class _Damaged(Exception):
    """Raised if the prepared data have changed since they were written."""


def _default_folder(name: str, settings: dict[str, Any]) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if root.startswith("~"):  # no HOME, and no entry in the user database
        raise ValueError("there is no home folder for the prepared text: name a folder by --data.cache")
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    readable = os.fsencode(name).decode(errors="replace")  # a name may be no UTF-8
    return Path(root) / "unroll" / "text" / f"{readable}-{digest}"


def _check_name(folder: Path) -> None:
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"{folder.absolute()} is not UTF-8, and no text can be prepared there: name another by --data.cache"
        ) from None


def _write(
    folder: Path, settings: dict[str, Any], write: Callable[[Path], Written], *, damaged: bool
) -> None:
    """Writes into a temporary folder, then renames it, in place of a damaged one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder.parent)
    temporary = folder.with_name(f"{folder.name}.making-{secrets.token_hex(8)}")
    try:
        temporary.mkdir()
        contents, details = write(temporary)
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        files = sorted(path for path in temporary.rglob("*") if path.is_file())
        prepared = {
            "settings": settings,
            "details": details,
            "files": {str(path.relative_to(temporary)): _checksum(path) for path in files},
        }
        prepared["checksum"] = _digest(prepared)
        (temporary / MANIFEST).write_text(json.dumps(prepared, indent=1) + "\n", encoding="utf-8")
        if damaged:
            _check_only_our_files(folder, {MANIFEST, *prepared["files"]})
            shutil.rmtree(folder, ignore_errors=True)
        try:
            temporary.replace(folder)
        except OSError as error:
            # Another process has prepared the same folder meanwhile, and may be reading it.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(parent: Path) -> None:
    """Removes temporary folders of processes that were killed: those not written to for a day."""
    for path in parent.iterdir():
        if not _TEMPORARY.fullmatch(path.name) or path.is_symlink():
            continue
        with contextlib.suppress(OSError):  # its process lives and is renaming it
            written = max(found.lstat().st_mtime for found in [path, *path.rglob("*")])
            if time.time() - written > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)


def _verify(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the details of a folder written by `_write`. Raises ValueError if it was prepared with other
    settings, and `_Damaged` if it is incomplete or altered."""
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{folder} has files, but no {MANIFEST}: name an empty or a prepared folder with --data.cache"
        )
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if content.pop("checksum") != _digest(content):
            raise ValueError
        stored, files = content["settings"], dict(content["files"])
        options, sources = dict(stored["options"]), dict(stored["sources"])
        form = stored["form"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _Damaged(f"{MANIFEST} has been altered") from None
    _compare(folder, settings, options, sources)
    if form != _FORMAT:
        raise _Damaged("they are of another release")
    for name, checksum in files.items():
        if not (folder / name).is_file():
            raise _Damaged(f"{name} is missing")
        if _checksum(folder / name) != checksum:
            raise _Damaged(f"{name} has been altered")
    return content["details"]


def _compare(
    folder: Path, settings: dict[str, Any], options: dict[str, Any], sources: dict[str, str]
) -> None:
    remedy = "name another folder with --data.cache, or prepare this one's text again with its own settings"
    for name in settings["options"] | options:
        wanted, found = settings["options"].get(name), options.get(name)
        if wanted != found:
            option = name.replace("_", "-")
            raise ValueError(f"{folder} was prepared with --data.{option} {found}, not {wanted}: {remedy}")
    for name in settings["sources"] | sources:
        if settings["sources"].get(name) != sources.get(name):
            known = "another text" if name in settings["sources"] and name in sources else "other files"
            raise ValueError(f"{folder} was prepared from {known} ({name} differs): {remedy}")


def _check_only_our_files(folder: Path, ours: set[str]) -> None:
    """Raises ValueError if a folder to be replaced contains files that the cache didn't write."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and str(path.relative_to(folder)) not in ours:
            raise ValueError(
                f"{folder} contains {path.relative_to(folder)}, which is not part of the prepared data: move it, "
                "or name another folder with --data.cache"
            )


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
