"""Pairs of sentences in local files: two files, line by line, or one whose lines hold a tab; and their splits."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.position import random_integers, random_order
from data.text.files import SPLITS, TextFile, group_by_split, read_file, split_of_name
from data.text.tokenizers import lines_of

TABBED = (".tsv", ".tab")


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


class PairFiles(NamedTuple):
    """The files of one split: a source file and a target file, or one file of both, with tabs."""

    source: Path
    target: Path | None = None


def read_pairs(source: Path, target: Path | None = None, *, encoding: str = "utf-8") -> list[Pair]:
    """Reads the pairs of two files, line by line, or of one, whose lines are a source, a tab and a target; plain or
    gzipped. Sentences lose outer white space.

    Raises ValueError as `read_file` does, for files with different numbers of lines, a line without exactly one
    tab, and an empty side.
    """
    return pairs_of(read_file(source), None if target is None else read_file(target), encoding)


def pairs_of(source: TextFile, target: TextFile | None, encoding: str = "utf-8") -> list[Pair]:
    """Returns the pairs of files that were read: see `read_pairs`."""
    lines = lines_of(source.text(encoding))
    if target is None:
        columns = [line.split("\t") for line in lines]
        for number, column in enumerate(columns, 1):
            if len(column) != 2:
                raise ValueError(
                    f"line {number} of {source.path} has {len(column) - 1} tabs: each line needs a source, one tab "
                    "and a target"
                )
        sides = [[column[side] for column in columns] for side in range(2)]
        names = [f"the {side} in line {{}} of {source.path}" for side in Pair._fields]
    else:
        sides = [list(lines), list(lines_of(target.text(encoding)))]
        if len(sides[0]) != len(sides[1]):
            raise ValueError(
                f"{source.path} has {len(sides[0]):,} lines, but {target.path} has {len(sides[1]):,}: give two "
                "files that translate each other line by line"
            )
        names = [f"line {{}} of {file.path}" for file in (source, target)]
    stripped = [[line.strip() for line in side] for side in sides]
    for side, name in zip(stripped, names, strict=True):
        if "" in side:
            raise ValueError(f"{name.format(side.index('') + 1)} is empty: take the pair out, on both sides")
    return [Pair(*pair) for pair in zip(*stripped, strict=True)]


def find_pair_files(
    location: Path, source: str, target: str, test: str | None = None
) -> dict[str, list[PairFiles]]:
    """Finds the files of a parallel text by their names: `{"train": …, "valid": …, "test": …}`, or `{"": […]}` for
    pairs that have yet to be split.

    `location` is a file of lines with tabs, which is to be split, or a folder of pairs NAME.SOURCE and NAME.TARGET
    (`train.de` and `train.en`), or else of files with tabs whose names end in .tsv or .tab; all plain, or gzipped,
    with .gz after the name. The words of the names tell the splits (train; valid, val, dev; test); `test` is the
    NAME of the test set if there are several.

    Raises ValueError if there is nothing, a file lacks its partner, or names are ambiguous.
    """
    if location.is_file():
        return {"": [PairFiles(location)]}
    if not location.is_dir():
        raise ValueError(f"there is no file or folder {location}: name one that holds pairs with --data.dir")
    by_side = [_by_stem(location, (f".{side}",)) for side in (source, target)]
    for ours, theirs, side in ((*by_side, target), (*by_side[::-1], source)):
        for stem, path in ours.items():
            if stem not in theirs:
                raise ValueError(
                    f"{path} has no partner {stem}.{side} beside it: give both, or rename this one"
                )
    files = {stem: PairFiles(path, by_side[1][stem]) for stem, path in by_side[0].items()}
    if not files:
        files = {stem: PairFiles(path) for stem, path in _by_stem(location, TABBED).items()}
    if not files:
        raise ValueError(
            f"{location} holds no pairs: put files there whose names end in .{source} and .{target} (or name other "
            f"endings by --data.source and --data.target), or one with tabs that ends in {' or '.join(TABBED)}"
        )
    tests = [stem for stem, found in files.items() if split_of_name(found.source) == "test"]
    if test is not None and test not in tests:
        raise ValueError(
            f"{location} holds no test set {test}, only {', '.join(tests) or 'none'}: see --data.test"
        )
    if test is None and len(tests) > 1:
        raise ValueError(f"{location} holds the test sets {', '.join(tests)}: choose one with --data.test")
    chosen = {
        found.source: found for stem, found in files.items() if stem not in tests or test in (None, stem)
    }
    grouped = group_by_split(location, list(chosen))
    return {split: [chosen[path] for path in paths] for split, paths in grouped.items()}


def _by_stem(location: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Returns the files of a folder with one of these endings, perhaps .gz after it, by their names before it."""
    found = {}
    for path in sorted(location.iterdir()):
        plain = path.name.removesuffix(".gz")
        for ending in endings:
            if plain.endswith(ending) and path.is_file():
                found[plain.removesuffix(ending)] = path
    return found


def split_pairs(
    pairs: Sequence[Pair], valid_share: float, test_share: float, seed: int = 0
) -> dict[str, list[Pair]]:
    """Splits pairs at random, at least these shares for validation and testing; 0 for none. Each split keeps the
    order of the pairs, and pairs with the same source stay together, so that none that is held out is trained on.

    Raises ValueError if a split would be empty.
    """
    sources = list(dict.fromkeys(pair.source for pair in pairs))
    order = random_order(len(sources), seed, stream=2)
    held_out = [math.ceil(round(len(sources) * share, 6)) for share in (valid_share, test_share)]
    counts = (len(sources) - sum(held_out), *held_out)
    if counts[0] < 1:
        raise ValueError(
            f"{len(pairs):,} pairs with {len(sources):,} different sources are too few to be split: nothing is "
            "left for training; give more, or other shares"
        )
    split_of: dict[str, str] = {}
    for split, start, count in zip(SPLITS, (0, counts[0], counts[0] + counts[1]), counts, strict=True):
        split_of |= {sources[place]: split for place in order[start : start + count].tolist()}
    parts: dict[str, list[Pair]] = {split: [] for split, count in zip(SPLITS, counts, strict=True) if count}
    for pair in pairs:
        parts[split_of[pair.source]].append(pair)
    return parts


def join_pairs(pairs: Sequence[Pair], most: int, seed: int = 0) -> list[Pair]:
    """Joins pairs by blanks, 1 to `most` of them, each number as likely, drawn at random; each pair is in one.

    Raises ValueError for a `most` below 1.
    """
    if most < 1:
        raise ValueError(f"most is {most}: join at least 1 pair.")
    order = random_order(len(pairs), seed)
    sizes = 1 + random_integers(most, len(pairs), seed, stream=1)
    ends = np.cumsum(sizes)
    groups = np.split(order, ends[ends < len(pairs)])
    return [
        Pair(*map(" ".join, zip(*(pairs[place] for place in group.tolist()), strict=True)))
        for group in groups
    ]
