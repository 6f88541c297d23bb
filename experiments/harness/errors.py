"""User mistakes: how they are raised, told from bugs, and printed.

The rule, by which `python -m experiments` prints one sentence and exits with 2, or shows a traceback:

- `UserError` names an option. What stands in `experiments` raises it wherever it knows the option.
- A `ValueError` of a library is a refusal if one of our own `raise` statements raised it: its sentence is for the
  user. `name_options` puts the option in the place of the field that such a sentence begins with.
- An `OSError` is the system's refusal: its sentence says where, and what would help.
- Everything else is a bug, Python's own ValueError in a line of ours included (`int("a")`, `max([])`).
"""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.harness.options import option_name

_ROOT = Path(__file__).resolve().parents[2]
_OURS = tuple(
    f"{_ROOT / package}{os.sep}" for package in ("models", "train", "data", "analysis", "experiments")
)
_format_as_python = warnings.formatwarning

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
_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ELOOP)


class UserError(ValueError):
    """A mistake in an option. The sentence continues after the option's name: "must be at least 1, but is 0"."""

    def __init__(self, option: str, sentence: str) -> None:
        super().__init__(f"{option} {sentence}")
        self.option, self.sentence = option, sentence

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str]]:
        return UserError, (self.option, self.sentence)


def is_refusal(error: BaseException) -> bool:
    """Tells whether an error is the user's to correct and its text says how."""
    if isinstance(error, UserError | OSError):
        return True
    if not isinstance(error, ValueError) or error.__traceback__ is None:
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    return is_ours(last) and (last.line or "").startswith("raise ")


def is_ours(frame: traceback.FrameSummary) -> bool:
    """Tells whether a line of a traceback stands in one of our packages."""
    return frame.filename.startswith(_OURS)


def report_refusal(error: Exception) -> int:
    """Prints a refusal to standard error and returns the exit code 2; raises any other error again."""
    if not is_refusal(error):
        raise error
    sentence = describe_os_error(error) if isinstance(error, OSError) else str(error)
    print(f"error: {sentence}", file=sys.stderr, flush=True)
    return 2


@contextmanager
def name_options(fields: Collection[str]) -> Iterator[None]:
    """Raises a library's refusal that begins with one of these fields (`loop.steps is 0; …`) as a UserError of its
    option (`--steps is 0; …`)."""
    try:
        yield
    except ValueError as error:
        field, _, sentence = str(error).partition(" ")
        if isinstance(error, UserError) or field not in fields or not is_refusal(error):
            raise
        raise UserError(option_name(field), sentence) from error


def describe_os_error(error: OSError) -> str:
    """Returns a sentence saying what the system refused, where, and how to continue."""
    if error.errno not in _MENDS:
        return str(error)
    from experiments.harness.lock import LOCK, held_folders
    from train import NotSaved

    if isinstance(error, NotSaved):
        refused = str(error)
    else:
        path = Path(error.filename or "")
        where = path.parent if path.name == LOCK and error.errno != errno.ELOOP else path
        what = f"{where} can't be {'written' if error.errno in _UNWRITTEN else 'opened'}"
        reason = (error.strerror or os.strerror(error.errno)).lower()
        refused = f"{what if error.filename else 'writing failed'} ({reason})"
    begun = [folder for folder in held_folders() if (folder / "config.json").is_file()]
    then = f", and run the same command with --resume {begun[0]} to continue" if begun else ""
    return f"{refused}: {_MENDS[error.errno]}{then}"


def format_warning(message: Warning | str, category: type[Warning], filename: str, *place: Any) -> str:
    """Formats a warning of ours as a sentence, any other as Python does."""
    if filename.startswith(_OURS):
        return f"warning: {message}\n"
    return _format_as_python(message, category, filename, *place)
