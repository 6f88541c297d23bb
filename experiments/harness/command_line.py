"""The options of a command, read by tyro: its help is tidied, and the errors of a config's own checks stay."""

import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

import docstring_parser  # by which tyro reads docstrings
import tyro

from experiments.harness.errors import is_ours
from experiments.harness.terminal import program, without_none, without_options, wrapped

HELP_ALL = "--help-all"


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
        """Writes what was held back, tidied; two empty lines, which tyro puts between paragraphs, become one."""
        self.stream.write(without_none(self.getvalue().replace("\n\n\n", "\n\n")))
        self.stream.flush()


def read_command(
    form: Any,
    arguments: Sequence[str],
    name: str,
    doc: str | None,
    *,
    rare: Collection[str] = (),
    **more: Any,
) -> Any:
    """Reads the options of `python -m experiments NAME` into a form; `more` are arguments of `tyro.cli`, and `rare`
    the options that `--help` leaves to `--help-all`.

    Tyro catches every ValueError of a `__post_init__` and prints it in a box, bugs included: here they are raised
    as they are. Its own refusals and its help are printed, and end in SystemExit.
    """
    out, err = Held(sys.stdout), Held(sys.stderr)
    whole = HELP_ALL in arguments
    arguments = ["--help" if word == HELP_ALL else word for word in arguments]
    try:
        with joined_docstrings(), redirect_stdout(out), redirect_stderr(err):
            return tyro.cli(
                form,
                args=arguments,
                prog=f"{program()} {name}",
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
    if rare and not whole and out.getvalue():
        shown = without_options(out.getvalue(), rare).rstrip("\n")
        out = Held(sys.stdout)
        out.write(f"{shown}\nMore options of the net, the optimizer, the loop and the run: {HELP_ALL}\n")
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
