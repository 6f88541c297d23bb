"""The tokenizers of a text, kept with the run that it trains, and the files that it came from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from experiments.harness.files import write_json
from train.files import read_json, write_file

SOURCES = "text.json"  # in the run's folder: what it was trained on


@runtime_checkable
class Text(Protocol):
    """A tokenised text, of one language or of two."""

    @property
    def origin(self) -> Mapping[str, str]:
        """The checksums of its files, by their names."""
        ...

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns the files of its tokenizers."""
        ...


def remember_text(folder: Path, text: Text) -> None:
    """Writes which files the text came from, for `check_same_text`."""
    write_json(folder / SOURCES, dict(text.origin))


def save_tokenizer(folder: Path, text: Text) -> None:
    """Writes what a run needs to read its own numbers."""
    for name, content in text.tokenizer_files().items():
        write_file(folder / name, content)


def check_same_text(folder: Path, text: Text) -> None:
    """Raises ValueError where a run was begun on other files than those of the text."""
    if not (folder / SOURCES).is_file():
        return
    before = read_json(folder / SOURCES)
    if not isinstance(before, dict):
        raise ValueError(f"{folder / SOURCES} is damaged: it isn't what a run writes of its text; restore it")
    now = text.origin
    for name in before | dict(now):
        if before.get(name) != now.get(name):
            raise ValueError(
                f"{folder} was begun on another text ({name} differs): give the same one, or begin a new run"
            )
