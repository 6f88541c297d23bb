"""Text as wide as the terminal, and the command that the user typed."""

import re
import shutil
import sys
import textwrap
from collections.abc import Collection
from pathlib import Path

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def program() -> str:
    """Returns the command as the user typed it: `unroll`, or `python -m experiments`."""
    return "unroll" if Path(sys.argv[0]).stem == "unroll" else "python -m experiments"


def terminal_width() -> int:
    """Returns the columns of help text: those of the terminal, within reason."""
    return min(max(shutil.get_terminal_size().columns, 60), 116)


def wrapped(doc: str | None) -> str:
    """Wraps a docstring's paragraphs to the terminal as a description for tyro; indented ones stay as they are. The
    command in them becomes the one that the user typed.

    Each line begins with a blank, since tyro joins lines that begin with a letter and doesn't wrap the result."""
    text = str(doc).strip("\n").replace("python -m experiments", program())
    paragraphs = [
        textwrap.indent(paragraph, "  ")
        if paragraph.startswith(" ")
        else textwrap.fill(paragraph, terminal_width(), initial_indent="  ", subsequent_indent="  ")
        for paragraph in text.split("\n\n")
    ]
    return "\n\n".join(paragraphs)


def without_options(text: str, hidden: Collection[str]) -> str:
    """Takes options and the boxes that they leave empty out of tyro's help (frames are blanks without Unicode)."""
    kept: list[str] = []
    box: list[str] = []
    keeps = shows = False
    for line in text.split("\n"):
        plain = _STYLE.sub("", line)
        if plain.startswith("╭") or re.fullmatch(r" (\S+ )?options *", plain):
            box, keeps, shows = [line], True, False
            continue
        option = re.match(r"[│ ] (-[^\s,]+)", plain) if box else None
        if option and not option[1].startswith("---"):
            keeps = option[1] not in hidden
            shows = shows or keeps
        if not box:
            kept.append(line)
        elif plain.startswith("╰") or (plain and not plain.strip()):
            kept += [*box, line] if shows else []
            box = []
        elif keeps:
            box.append(line)
    return "\n".join(kept)


def without_none(text: str) -> str:
    """Takes Python's words for an option that may be left out, `{None}|INT` and `(default: None)`, out of help, and
    keeps the frame in its place."""

    def tidied(line: str) -> str:
        shorter = line.replace("{None}|", "").replace(" (default: None)", "").replace("(default: None)", "")
        edge = shorter.rfind("│")
        return shorter if edge < 1 else shorter[:edge] + " " * (len(line) - len(shorter)) + shorter[edge:]

    return "\n".join(map(tidied, text.split("\n")))
