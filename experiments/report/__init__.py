"""`python -m experiments report RUN …`: one HTML page for a run, or for several beside one another."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Annotated

import tyro

from experiments.harness.command_line import read_command
from experiments.harness.errors import UserError
from experiments.harness.files import RUNS
from experiments.harness.terminal import program
from experiments.report.page import page
from experiments.report.reading import read_reported
from train.files import write_file


@dataclass(frozen=True)
class Options:
    """Write a self-contained HTML page about a run, or comparing several: options, machine, tables, figures,
    curves and times. It opens from disk without a network."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN …")] = ()
    """Run folders; finished or not."""
    out: Path | None = None
    """File to write; by default RUN/report.html for one run, runs/report-HASH.html for several."""


def main(arguments: Sequence[str]) -> str:
    """Writes the page and returns a line about it. Raises ValueError for runs that can't be reported."""
    given = read_command(Options, arguments, "report", getdoc(Options))
    path = write_report(given.runs, given.out)
    return (
        f"report of {counted(given.runs)}: {path} ({path.stat().st_size / 1e6:.1f} MB); open it in a browser"
    )


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Writes the page in one move and returns its path; the same folders give the same bytes.

    Raises ValueError where no run is named, or one twice, a folder isn't a run's, is damaged or holds nothing yet
    to be shown, or `out` is no HTML file.
    """
    if not folders:
        raise ValueError(f"report names no run: {program()} report RUN …, with the folder of each")
    resolved = [folder.resolve() for folder in folders]
    for i, folder in enumerate(folders):
        if resolved[i] in resolved[:i]:
            raise ValueError(f"report names {folder} twice: name each run once")
    path = default_path(folders) if out is None else out
    if path.suffix != ".html":
        raise UserError("--out", f"{path} must be a file whose name ends in .html")
    if path.is_dir():
        raise UserError("--out", f"{path} is a folder: name a file in it")
    text = page([read_reported(folder) for folder in folders])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text)
    return path


def default_path(folders: Sequence[Path]) -> Path:
    """Returns the default file: in the run's folder, or for several runs in the folder of all runs."""
    if len(folders) == 1:
        return folders[0] / "report.html"
    names = b"\n".join(os.fsencode(folder.resolve()) for folder in folders)
    return RUNS / f"report-{hashlib.sha256(names).hexdigest()[:6]}.html"


def counted(folders: Sequence[Path]) -> str:
    return str(folders[0]) if len(folders) == 1 else f"{len(folders)} runs"
