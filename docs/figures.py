"""Makes the figures and tables that the pages show, each from the command that its page names.

    make figures                          all but those that need a corpus: about 45 minutes on 2 CPU cores
    make figures ARGS="cliff families"    some, by name
    make figures ARGS="ngram_ptb zaremba --data PATH"    PATH: a folder with ptb/ in it
    make figures ARGS="--list"            names, times, commands and files
    make figures ARGS="gallery"           docs/gallery.md alone, from this list and the pages

Runs stand in runs/docs/NAME: a finished one is drawn anew from its arrays, an unfinished one resumed. To compute
one anew, delete its folder. docs/benchmarks.* are written by `make bench`.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from docs.sources import LABORATORY, SOURCES, Source

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
RUNS = Path("runs/docs")
CORPORA = "PATH"  # stands in commands for --data
GALLERY = "gallery"  # docs/gallery.md, a name of `make figures` too
BENCHMARK = "benchmarks"  # docs/benchmarks.png, which `make bench` makes with the page around it


@dataclass(frozen=True)
class Config:
    """Makes the figures and tables that the pages show."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Figures to make, or gallery; by default all that need no corpus, or all with --data."""
    data: Path | None = None
    """Folder that holds the corpora: ptb/ with Mikolov's train, valid and test text."""
    list: bool = False
    """List names, times, commands and files, and make nothing."""


def main(config: Config) -> int:
    """Makes what is asked for in turn; returns the exit code of the first that fails, 2 for a mistake."""
    if unknown := [name for name in config.names if name not in (*SOURCES, GALLERY)]:
        print(f"error: no figure is made by {unknown[0]!r}: there are {', '.join(SOURCES)}", file=sys.stderr)
        return 2
    chosen = config.names or [n for n, s in SOURCES.items() if config.data or CORPORA not in s.command]
    chosen = [name for name in chosen if name != GALLERY]
    for name in chosen:
        source = SOURCES[name]
        print(f"{name} ({source.time}): python -m experiments {source.command}", flush=True)
        if config.list:
            print("".join(f"  {file}\n" for file in files(source)), end="")
        elif CORPORA in source.command and config.data is None:
            print(f"error: {name} needs a corpus: add --data with the folder that holds it", file=sys.stderr)
            return 2
        elif code := run(name, source, config.data):
            print(f"error: {name} ended with exit code {code}; the same command goes on", file=sys.stderr)
            return code
        else:
            publish(name, source)
    if not config.list:
        (DOCS / f"{GALLERY}.md").write_text(gallery(), encoding="utf-8")
        print(f"docs/{GALLERY}.md")
    return 0


def arguments(source: Source, data: Path | None = None) -> list[str]:
    """The arguments of `python -m experiments`, as a shell splits them."""
    folder = CORPORA if data is None else str(data.resolve())
    return [word.replace(CORPORA, folder) for word in shlex.split(source.command)]


def run(name: str, source: Source, data: Path | None) -> int:
    """Runs a source's command, resumes its run, or draws a finished one anew; returns the exit code."""
    folder = RUNS / name
    if (ROOT / folder / "results.json").exists():
        words = ["inspect", str(folder)]
    else:
        option = "--resume" if (ROOT / folder / "config.json").exists() else "--run-dir"
        words = [*arguments(source, data), option, str(folder)]
    quiet = subprocess.DEVNULL if words[0] == "inspect" else None
    # Ctrl-C reaches the run too, which saves itself: wait for that.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    return subprocess.run([sys.executable, "-m", "experiments", *words], cwd=ROOT, stdout=quiet).returncode


def publish(name: str, source: Source) -> None:
    """Puts the figures of a finished run into docs/ and its table into the page."""
    for figure, file in source.figures.items():
        shutil.copyfile(ROOT / RUNS / name / "figures" / f"{figure}.png", DOCS / f"{file}.png")
    if source.table:
        page = ROOT / source.page
        table = (ROOT / RUNS / name / "table.txt").read_text(encoding="utf-8")
        page.write_text(quoted(name, source, page.read_text(encoding="utf-8"), table), encoding="utf-8")
    print("".join(f"  {file}\n" for file in files(source)), end="", flush=True)


def quoted(name: str, source: Source, page: str, table: str) -> str:
    """The page's text with the chosen paragraphs of a table in the block of that name.

    Raises ValueError where the page has no such block."""
    paragraphs = table.strip("\n").split("\n\n")
    text = "\n\n".join(paragraphs[i] for i in source.table)
    block = re.compile(rf"(<!-- table of {name} -->\n+```\n).*?(\n```)", re.DOTALL)
    found, count = block.subn(lambda match: f"{match[1]}{text}{match[2]}", page)
    if count != 1:
        raise ValueError(f"{source.page} has {count} blocks under <!-- table of {name} -->, not one")
    return found


def gallery() -> str:
    """Writes the gallery: of every source with a figure the first, what its page says of it, and the command."""
    sections: dict[str, list[tuple[str, Source]]] = {}
    for name, source in SOURCES.items():
        if source.figures:
            page = LABORATORY if source.page == "README.md" else source.page
            sections.setdefault(page, []).append((name, source))
    text = (
        "# Gallery\n\nOne picture of each experiment that has one in these pages, with its command and its time "
        "on 2 CPU cores.\nA picture leads to the page that explains it. "
        'This page is written by `make figures ARGS="gallery"`.\n'
    )
    for page, entries in sections.items():
        title = re.findall(r"^# (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)[0]
        text += f"\n## {title}\n"
        for i in range(0, len(entries), 2):
            pair = [gallery_entry(*entry) for entry in entries[i : i + 2]]
            rows = [[" "] * len(pair), ["---"] * len(pair), pair]
            text += "\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return text


def gallery_entry(name: str, source: Source) -> str:
    """Writes a source's name, its first picture with what its page says of it, and its command and time."""
    file = next(iter(source.figures.values()))
    page = (ROOT / source.page).read_text(encoding="utf-8")
    (caption,) = re.findall(rf"!\[([^\]]*)\]\((?:\.\./docs/|docs/)?{file}\.png\)", page)
    caption = " ".join(caption.split())
    link = os.path.relpath(ROOT / source.page, DOCS)
    picture = f"[![{caption}]({file}.png)]({link})"
    return f"**{name}**<br>{picture}<br>{caption}.<br>`python -m experiments {source.command}`, {source.time}"


def files(source: Source) -> list[str]:
    """Lists the figures and tables that a source makes."""
    tables = [f"{source.page}, its table"] if source.table else []
    return [*(f"docs/{file}.png" for file in source.figures.values()), *tables]


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, prog="make figures", description=__doc__)))
