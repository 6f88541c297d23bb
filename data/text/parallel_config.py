"""The choice of a parallel text, and its pairs before tokenisation."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from data.pairs.titles import heading_pairs, split_titles, title_pairs
from data.pairs.turns import made_turns, play_in, read_turns, turn_pairs
from data.position import random_order
from data.synthetic.number_words import MONTHS
from data.synthetic.pairs import copy_pairs, number_pairs, part_pairs, reversal_pairs
from data.synthetic.programs import program_pairs
from data.text.files import SPLITS, read_file
from data.text.pair_files import Pair, find_pair_files, join_pairs, pairs_of, split_pairs

MADE_TYPES, FILE_TYPES = 400, 8000
_SPLIT_STREAM = 2**32  # of random numbers, beyond those from which pairs are made
_OF_FILES = ("test", "encoding", "valid_share", "test_share", "cache")
_OF_MADE = ("count", "held_out", "length")
_OF_TEXTS = ("turns", "titles")  # kinds that are read from --data.dir too


@dataclass(frozen=True)
class ParallelConfig:
    """The choice of pairs in two languages and of their tokens."""

    dir: Path | None = None
    """A folder of files NAME.de and NAME.en (or other languages), plain or gzipped, a sentence a line, whose names
    tell train, valid and test (else all are split; without a valid file, a part of train is); or of files NAME.tsv
    whose lines are a source, a tab and a target; or one such file. Default: pairs made from --data.seed."""
    source: str = "de"
    """The language translated from, as the names of the files end."""
    target: str = "en"
    """The language translated to."""
    test: str | None = None
    """The NAME of the test set, if --data.dir holds several."""
    encoding: str = "utf-8"
    """Encoding of the files of --data.dir, by its Python name."""
    valid_share: float = 0.1
    """Fraction for validation of files that are split, or of training files without a validation file."""
    test_share: float = 0.1
    """Fraction for test of files that are split; 0 for none."""
    kind: Literal["numbers", "parts", "reversal", "copy", "programs", "turns", "titles"] = "numbers"
    """Without --data.dir: numbers and dates in German and English words, numbers with blanks between the parts of
    words, letters to reverse or to copy, or arithmetic in English words and the Python expression. With it or
    without: turns of a dialogue, each with the next, or texts with their titles."""
    count: int = 10_000
    """Training pairs that are made."""
    held_out: int = 1_000
    """Pairs that are made for validation, and as many for test; no source of theirs occurs in training."""
    length: int | None = None
    """Most digits of a number that is made, 4 if not given, of parts 5, letters of a sequence, then 10, or
    operators of an expression, then 2."""
    seed: int = 0
    """Seed of the pairs that are made, split or joined."""
    joined: int = 1
    """Train on 1 to so many pairs joined by blanks to longer ones."""
    vocabulary: Literal["shared", "separate"] = "shared"
    """One vocabulary of subwords for both languages, or one for each; learned from the training pairs."""
    types: int | None = None
    """Most types of a vocabulary, marks included. Default: 8000, of pairs that are made 400."""
    longest: int = 100
    """Leave out training pairs with more tokens on a side."""
    longest_held_out: int = 1000
    """Refuse held-out pairs with more tokens on a side, and sources to translate; none is left out, since scores
    would be those of another test set."""
    cache: Path | None = None
    """Folder for the prepared pairs of --data.dir. Default: one per text and settings in the user's cache."""

    @property
    def most_types(self) -> int:
        """Returns the most types of a vocabulary."""
        return self.types or (MADE_TYPES if self.dir is None else FILE_TYPES)

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        least = {
            "count": 1,
            "held_out": 1,
            "joined": 1,
            "longest": 1,
            "longest_held_out": 1,
            "types": 3,
            "length": 1,
        }
        for name, smallest in least.items():
            number = getattr(self, name)
            if number is not None and number < smallest:
                raise ValueError(f"{_option(name)} must be {smallest} or more, but is {number}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"--data.seed must lie in 0 … 2**64 - 1, but is {self.seed}")
        shares = (self.valid_share, self.test_share)
        if not (min(shares) >= 0 and sum(shares) < 1):
            raise ValueError(
                f"--data.valid-share {self.valid_share} and --data.test-share {self.test_share} must be 0 or more "
                "and leave something to train on"
            )
        if self.source == self.target:
            raise ValueError(f"--data.source and --data.target are both {self.source}: give two languages")
        if self.dir is not None and self.kind not in (ParallelConfig.kind, *_OF_TEXTS):
            raise ValueError("--data.kind is for pairs that are made, without --data.dir: leave it out here")
        unused = _OF_FILES if self.dir is None else _OF_MADE
        for name in unused:
            if getattr(self, name) != getattr(ParallelConfig, name):
                needs = (
                    "the files of --data.dir"
                    if self.dir is None
                    else "pairs that are made, without --data.dir"
                )
                raise ValueError(f"{_option(name)} is for {needs}: leave it out here")
        if self.dir is None:
            self._check_languages()
        elif self.encoding != ParallelConfig.encoding:
            try:
                "a".encode(self.encoding)
            except LookupError:
                raise ValueError(f"--data.encoding {self.encoding!r} is none that Python knows") from None

    def _check_languages(self) -> None:
        if self.kind in ("numbers", "parts"):
            for name in ("source", "target"):
                language = getattr(self, name)
                if language not in MONTHS:
                    raise ValueError(
                        f"{_option(name)} is {language}, but numbers are made in {' and '.join(MONTHS)}: take "
                        "these, or give --data.dir"
                    )
        elif (self.source, self.target) != (ParallelConfig.source, ParallelConfig.target):
            raise ValueError(
                f"--data.source and --data.target name languages, but --data.kind {self.kind} has none: leave them "
                "out"
            )


def _option(field: str) -> str:
    return f"--data.{field.replace('_', '-')}"


class ParallelPairs(NamedTuple):
    """Pairs before tokenisation: by split, where each split is from in messages, and checksums of the files.

    `settings` are the options on which the pairs depend.
    """

    splits: Mapping[str, list[Pair]]
    origin: Mapping[str, str]
    settings: Mapping[str, object]


def read_parallel(config: ParallelConfig) -> ParallelPairs:
    """Reads the pairs of `--data.dir`, or makes them.

    Raises ValueError as `find_pair_files`, `read_pairs` and `split_pairs` do, and for shares if nothing is split.
    """
    config.check()
    if config.kind == "titles" or (config.dir is not None and config.kind == "turns"):
        splits, origin, settings = _from_texts(config)
    else:
        splits, origin, settings = _made(config) if config.dir is None else _from_files(config, config.dir)
    if config.joined > 1:
        splits = {**splits, "train": join_pairs(splits["train"], config.joined, config.seed)}
        settings = {**settings, "joined": config.joined, "seed": config.seed}
    return ParallelPairs(splits, origin, settings)


def _made(config: ParallelConfig) -> ParallelPairs:
    count = config.count + 2 * config.held_out
    languages: Any = {"source": config.source, "target": config.target}
    match config.kind:
        case "numbers":
            pairs = number_pairs(config.seed, count, **languages, digits=config.length or 4)
        case "parts":
            pairs = part_pairs(config.seed, count, **languages, digits=config.length or 5)
        case "reversal":
            pairs = reversal_pairs(config.seed, count, length=config.length or 10)
        case "copy":
            pairs = copy_pairs(config.seed, count, length=config.length or 10)
        case "turns" | "titles":  # titles come from texts
            pairs = made_turns(config.seed, count)
        case "programs":
            pairs = program_pairs(config.seed, count, operators=config.length or 2)
    # Later pairs are longer, as there are few short ones, so that splits are drawn at random.
    order = random_order(count, config.seed, _SPLIT_STREAM).tolist()
    ends = (config.count, config.count + config.held_out, count)
    splits = {
        split: [pairs[place] for place in order[start:end]]
        for split, start, end in zip(SPLITS, (0, *ends), ends, strict=False)
    }
    digest = hashlib.sha256(json.dumps(splits, ensure_ascii=False).encode()).hexdigest()
    return ParallelPairs(splits, {f"{config.kind} made from seed {config.seed}": digest}, {})


def _from_texts(config: ParallelConfig) -> ParallelPairs:
    """Returns the pairs of kinds that have splits of their own."""
    settings: dict[str, object] = {"kind": config.kind, "seed": config.seed}
    if config.kind == "turns":
        assert config.dir is not None
        text = read_file(play_in(config.dir))
        splits = turn_pairs(read_turns(text.text(config.encoding)))
        return ParallelPairs(splits, {text.path.name: text.checksum}, settings)
    if config.dir is None:
        pairs, name = heading_pairs(), "headings of Python's language reference"
    else:
        pairs, name = title_pairs(config.dir), config.dir.name
    digest = hashlib.sha256(json.dumps(pairs, ensure_ascii=False).encode()).hexdigest()
    return ParallelPairs(split_titles(pairs, config.seed), {name: digest}, settings)


def _from_files(config: ParallelConfig, location: Path) -> ParallelPairs:
    origin, found = {}, {}
    for split, groups in find_pair_files(location, config.source, config.target, config.test).items():
        found[split] = []
        for group in groups:
            source = read_file(group.source)
            target = None if group.target is None else read_file(group.target)
            found[split] += pairs_of(source, target, config.encoding)
            origin |= {file.path.name: file.checksum for file in (source, target) if file is not None}
    settings: dict[str, object] = {
        "source": config.source,
        "target": config.target,
        "encoding": config.encoding,
    }
    if config.test is not None:
        settings["test"] = config.test
    whole = "" in found
    shares = {"valid_share": config.valid_share if whole or "valid" not in found else 0.0}
    shares["test_share"] = config.test_share if whole else 0.0
    for name, share in shares.items():
        if not share and getattr(config, name) not in (0.0, getattr(ParallelConfig, name)):
            raise ValueError(
                f"{_option(name)} is for pairs that are split, but {location} has files for its parts"
            )
    if any(shares.values()):
        settings |= {**shares, "seed": config.seed}
        found |= split_pairs(found.pop("" if whole else "train"), seed=config.seed, **shares)
    return ParallelPairs({split: found[split] for split in SPLITS if split in found}, origin, settings)
