"""The process's environment prepared for a run: streams, terminal, umask, open files."""

import codecs
import contextlib
import io
import os
import resource
import sys

FEWEST_FILES = 64  # that a process must be able to open at once; a run on one device takes about 30
MANY_FILES = 65_536  # are asked for where there is no limit


def prepare_surroundings() -> None:
    """Sets process-wide state; called only by the command line, before anything else.

    - Standard output and error are opened on nothing where they were closed from the start (Python has None there).
      What they can't encode shows as an escape, and a file's name that isn't UTF-8 is given back byte for byte.
    - A terminal of less than 20 columns, in which no help can be laid out, counts as one of 80.
    - What this process writes its owner can read and write, whatever the umask.
    - It may open as many files as the system lets it.
    - Errors that nothing can catch are shown by `show_unraisable`.
    """
    sys.unraisablehook = show_unraisable
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    codecs.register_error("unroll", bytes_or_escapes)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="unroll")
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) < 20:
        os.environ["COLUMNS"] = "80"
    os.umask(os.umask(0o077) & 0o077)
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems allow fewer than they say
        wanted = MANY_FILES if most == resource.RLIM_INFINITY else most
        if 0 <= now < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def show_unraisable(what: "sys.UnraisableHookArgs") -> None:
    """Shows an error that nothing can catch as Python does, except those that follow another: after the first leaf
    of a checkpoint that can't be written, the others report to Orbax's event loop, which is closed."""
    if what.exc_type is not RuntimeError or str(what.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(what)


def bytes_or_escapes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encodes the bytes of a name that isn't UTF-8 unchanged, and any other character as an escape."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def check_file_limit() -> None:
    """Raises ValueError if the process may open too few files for a run."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < FEWEST_FILES:
        raise ValueError(
            f"this process may open {limit} files, and a run needs {FEWEST_FILES}: raise the limit "
            f"(ulimit -n {FEWEST_FILES})"
        )
