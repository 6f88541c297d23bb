"""Text as wide as the terminal."""

import shutil
import textwrap


def terminal_width() -> int:
    """Returns the columns of help text: those of the terminal, within reason."""
    return min(max(shutil.get_terminal_size().columns, 60), 116)


def wrapped(doc: str | None) -> str:
    """Wraps a docstring's paragraphs to the terminal as a description for tyro; indented ones stay as they are.

    Each line begins with a blank, since tyro joins lines that begin with a letter and doesn't wrap the result."""
    paragraphs = [
        textwrap.indent(paragraph, "  ")
        if paragraph.startswith(" ")
        else textwrap.fill(paragraph, terminal_width(), initial_indent="  ", subsequent_indent="  ")
        for paragraph in str(doc).strip("\n").split("\n\n")
    ]
    return "\n\n".join(paragraphs)
