"""The options of a command, read by tyro: its help is tidied, and the errors of a config's own checks stay."""

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import docstring_parser  # by which tyro reads docstrings
import tyro

from experiments.harness.errors import is_ours
from experiments.harness.terminal import wrapped


class Held(StringIO):
    """Holds back what is written to a stream, and looks like that stream: tyro colours for a terminal alone."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self.stream = stream

    def isatty(self) -> bool:
        return self.stream.isatty()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.stream.encoding or "ascii"  # of a StringIO it is None

    def release(self) -> None:
        """Writes what was held back; two empty lines, which tyro puts between paragraphs, become one."""
        self.stream.write(self.getvalue().replace("\n\n\n", "\n\n"))
        self.stream.flush()


def read_command(form: Any, arguments: Sequence[str], name: str, doc: str | None, **more: Any) -> Any:
    """Reads the options of `python -m experiments NAME` into a form; `more` are arguments of `tyro.cli`.

    Tyro catches every ValueError of a `__post_init__` and prints it in a box, bugs included: here they are raised
    as they are. Its own refusals and its help are printed, and end in SystemExit.
    """
    out, err = Held(sys.stdout), Held(sys.stderr)
    try:
        with joined_docstrings(), redirect_stdout(out), redirect_stderr(err):
            return tyro.cli(
                form,
                args=list(arguments),
                prog=f"python -m experiments {name}",
                description=wrapped(doc),
                **more,
            )
    except SystemExit as ended:
        left = ended
    error = left.__context__
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, ValueError) and any(map(is_ours, frames)):
            raise error
        error = error.__context__
    out.release()
    err.release()
    raise left


@contextmanager
def joined_docstrings() -> Iterator[None]:
    """Joins the lines of a field's docstring: tyro would break its help where the source does."""
    parse = docstring_parser.parse_from_object

    def joined(part: Any, *rest: Any) -> docstring_parser.Docstring:
        parsed = parse(part, *rest)
        for field in parsed.params:
            field.description = field.description and " ".join(field.description.split())
        return parsed

    docstring_parser.parse_from_object = joined
    try:
        yield
    finally:
        docstring_parser.parse_from_object = parse
