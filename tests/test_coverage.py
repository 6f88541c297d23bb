"""The page on coverage is whole: every row of the notes, every experiment, commands that are read."""

import re
import shlex
from pathlib import Path

from experiments.registry import NAMES, read_options

PAGE = Path(__file__).resolve().parent.parent / "docs" / "coverage.md"
ROWS = {"A": 12, "B": 5, "C": 8, "D": 6, "E": 5, "F": 6, "G": 10, "H": 4, "I": 3}  # systems of each kind


def rows() -> dict[str, list[str]]:
    """The columns of every row by its name: system, commands, evidence, pages."""
    found = re.findall(r"^\| ([A-I]\d+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: columns.split(" | ") for name, columns in found}


def commands() -> list[str]:
    return [command for row in rows().values() for command in re.findall(r"`([^`]+)`", row[1])]


def test_every_system_has_a_row_with_command_evidence_and_page() -> None:
    assert list(rows()) == [f"{kind}{i}" for kind, count in ROWS.items() for i in range(1, count + 1)]
    for name, (_, command, evidence, page) in rows().items():
        assert re.search(r"`[^`]+`", command), name
        assert re.search(r"\]\(\.\./tests/[^)]+\.py\)", evidence), name
        assert re.search(r"\]\([^)]+\.md\)", page), name


def test_every_experiment_stands_in_a_row() -> None:
    assert {shlex.split(command)[0] for command in commands()} == set(NAMES)


def test_every_command_is_read() -> None:
    for command in commands():
        experiment, *options = shlex.split(command)
        read_options(experiment, options)
