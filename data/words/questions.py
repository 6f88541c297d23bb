"""Tests of word vectors: pairs of words with a similarity that people gave them, and analogies."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.text.files import read_file

Pair = tuple[str, str, float]
Analogy = tuple[str, str, str, str]  # a is to b as c is to d


@dataclass(frozen=True)
class WordTests:
    """Similarity sets by name, and analogies by section."""

    similarity: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    analogies: Mapping[str, Sequence[Analogy]] = field(default_factory=dict)


def read_word_tests(location: Path) -> WordTests:
    """Reads a file, or the .txt files of a folder, in the order of their names.

    A file whose first line begins with a colon holds analogies, four words a line, under lines `: section`; any
    other is a similarity set of lines `word word score`, divided by white space, named after the file. Empty lines
    and those that begin with # are left out.

    Raises ValueError, with the number of the line, where one holds something else, or if there is no file.
    """
    paths = sorted(location.glob("*.txt")) if location.is_dir() else [location]
    if not paths:
        raise ValueError(f"{location} holds no file that ends in .txt: name one with word pairs or analogies")
    similarity: dict[str, list[Pair]] = {}
    analogies: dict[str, list[Analogy]] = {}
    for path in paths:
        lines = list(_lines(path))
        if lines and lines[0][1].startswith(":"):
            analogies |= _analogies(path, lines)
        else:
            similarity[path.stem] = [_pair(path, number, line) for number, line in lines]
    return WordTests(similarity, analogies)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_file(path).text().split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _pair(path: Path, number: int, line: str) -> Pair:
    fields = line.split()
    try:
        score = float(fields[2])
    except (IndexError, ValueError):
        score = math.nan
    if len(fields) != 3 or not math.isfinite(score):
        raise ValueError(
            f"line {number} of {path} is {line!r:.60}, and should hold two words and a number: correct it"
        )
    return fields[0], fields[1], score


def _analogies(path: Path, lines: Sequence[tuple[int, str]]) -> dict[str, list[Analogy]]:
    sections: dict[str, list[Analogy]] = {}
    section: list[Analogy] = []
    for number, line in lines:
        if line.startswith(":"):
            section = sections.setdefault(line[1:].strip(), [])
            continue
        words = line.split()
        if len(words) != 4:
            raise ValueError(
                f"line {number} of {path} is {line!r:.60}, and should hold four words: correct it"
            )
        section.append((words[0], words[1], words[2], words[3]))
    return sections
