"""Sentences with a class each, from local files: a class after a tab, or a file for each class and ten folds."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from data.position import random_order
from data.synthetic.grammar import grammar_sentences
from data.text.cache_folder import Written, prepare_once
from data.text.files import SPLITS, TextFile, group_by_split, read_file
from data.text.pair_files import TABBED
from data.text.tokenizers import lines_of

FOLDS = 10
_STREAM = 3  # of random numbers, beside those that split pairs


class ClassifiedSentence(NamedTuple):
    """The words of a sentence, and its class."""

    words: tuple[str, ...]
    label: str


@dataclass(frozen=True)
class ClassifiedConfig:
    """The choice of sentences with a class each."""

    dir: Path | None = None
    """A folder of train.tsv, test.tsv and, if there is one, dev.tsv, whose lines are a sentence, a tab and a class
    (SST-2); or of one file for each class, NAME.neg and NAME.pos, in ten folds (MR). Plain, or gzipped. Default:
    sentences of a grammar, made from --data.seed."""
    fold: int = 1
    """The fold to test on, 1 to 10, of files without splits."""
    valid_share: float = 0.1
    """Fraction of the training sentences for validation, where no file is for it."""
    encoding: str = "utf-8"
    """Encoding of the files of --data.dir, by its Python name."""
    sentences: int = 2000
    """Training sentences that are made."""
    held_out: int = 500
    """Sentences that are made for validation, and as many for test."""
    seed: int = 0
    """Seed of the sentences that are made, and of folds and validation sentences."""
    cache: Path | None = None
    """Folder for the prepared sentences of --data.dir. Default: one per text in the user's cache."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        if not 1 <= self.fold <= FOLDS:
            raise ValueError(f"--data.fold must lie in 1 … {FOLDS}, but is {self.fold}")
        if not 0 < self.valid_share < 1:
            raise ValueError(f"--data.valid-share must lie between 0 and 1, but is {self.valid_share}")
        if min(self.sentences, self.held_out) < 1:
            raise ValueError("--data.sentences and --data.held-out must be 1 or more")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"--data.seed must lie in 0 … 2**64 - 1, but is {self.seed}")


class ClassifiedText(NamedTuple):
    """Sentences by split: train, valid and test.

    `classes` are those of the training sentences, sorted. `origin` is a checksum by the name of each file.
    `folded` tells whether the test sentences are one fold of ten.
    """

    splits: Mapping[str, Sequence[ClassifiedSentence]]
    classes: tuple[str, ...]
    origin: Mapping[str, str]
    folded: bool = False

    def summary(self) -> str:
        """Describes the sentences: a line in total, and one for each split."""
        lines = [f"sentences: {', '.join(self.origin)}; classes {', '.join(self.classes)}"]
        known = {sentence.words for sentence in self.splits["train"]}
        for name, found in self.splits.items():
            words = sum(len(sentence.words) for sentence in found)
            repeated = 0 if name == "train" else sum(sentence.words in known for sentence in found)
            more = f"; {repeated:,} occur in train" if repeated else ""
            lines.append(f"  {name:<6}{len(found):>9,} sentences, {words:,} words{more}")
        return "\n".join(lines)


def load_classified(config: ClassifiedConfig) -> ClassifiedText:
    """Reads the sentences of `--data.dir`, prepared once and then read from the cache, and splits them.

    Files NAME.CLASS are split into ten folds of equal shares of each class; equal sentences are in one fold, so
    that none that is tested was trained on. Where no file is for validation, a share of the training sentences is.

    Raises ValueError for every fault of files or settings, among them a class that no training sentence has.
    """
    config.check()
    if config.dir is None:
        return made_sentences(config)
    files = find_classified_files(config.dir)
    read = {name: read_file(path) for name, path in files.items()}
    folded = not set(files) <= set(SPLITS)
    found = prepare_once(
        config.cache,
        name=config.dir.resolve().name,
        options={"encoding": config.encoding},
        sources={file.path.name: file.checksum for file in read.values()},
        prepare=lambda: _parse(read, config.encoding, folded=folded),
        write=_write,
        read=_read,
    )
    if folded:
        found = _fold(found, config)
    if "valid" not in found:
        found = _with_valid(found, config)
    splits = {split: found[split] for split in SPLITS}
    origin = {file.path.name: file.checksum for file in read.values()}
    return ClassifiedText(splits, classes_of(splits["train"]), origin, folded)


def made_sentences(config: ClassifiedConfig) -> ClassifiedText:
    """Makes different sentences of opinion with the grammar, whose classes are their polarities."""
    ends = (0, *(config.sentences + held_out * config.held_out for held_out in range(3)))
    made = grammar_sentences(config.seed, ends[-1], kinds=("opinion",))
    sentences = [
        ClassifiedSentence(one.words, "positive" if one.polarity > 0 else "negative") for one in made
    ]
    splits = {split: sentences[start:end] for split, start, end in zip(SPLITS, ends, ends[1:], strict=False)}
    digest = hashlib.sha256(json.dumps(sentences, ensure_ascii=False).encode()).hexdigest()
    return ClassifiedText(splits, ("negative", "positive"), {f"made from seed {config.seed}": digest})


def classes_of(sentences: Sequence[ClassifiedSentence]) -> tuple[str, ...]:
    """Returns the classes of sentences, sorted."""
    return tuple(sorted({sentence.label for sentence in sentences}))


def find_classified_files(location: Path) -> dict[str, Path]:
    """Finds files by their names: those of train, valid and test, or one of each class.

    Raises ValueError if there are neither, or names are ambiguous."""
    if not location.is_dir():
        raise ValueError(f"there is no folder {location}: name one that holds sentences with --data.dir")
    plain = {path: path.name.removesuffix(".gz") for path in sorted(location.iterdir()) if path.is_file()}
    tabbed = [path for path, name in plain.items() if name.endswith(TABBED)]
    if tabbed:
        grouped = group_by_split(location, tabbed)
        for split in ("train", "test"):
            if split not in grouped:
                raise ValueError(
                    f"{location} has no {split}.tsv: give one, a sentence, a tab and a class a line"
                )
        return {split: paths[0] for split, paths in grouped.items()}
    by_class = {
        Path(name).suffix.removeprefix("."): path
        for path, name in plain.items()
        if Path(name).suffix in (".neg", ".pos")
    }
    if set(by_class) != {"neg", "pos"}:
        raise ValueError(
            f"{location} holds no classified sentences: put train.tsv and test.tsv there, a sentence, a tab and a "
            "class a line, or two files NAME.neg and NAME.pos, a sentence a line"
        )
    return by_class


def _parse(
    files: Mapping[str, TextFile], encoding: str, *, folded: bool
) -> dict[str, list[ClassifiedSentence]]:
    """Returns the sentences of each file. Raises ValueError, naming file and line, for a line without one."""
    found = {
        name: sentences_of_class(file, name, encoding) if folded else tabbed_sentences(file, encoding)
        for name, file in files.items()
    }
    known = set() if folded else {sentence.label for sentence in found["train"]}
    for name, sentences in found.items() if not folded else ():
        for number, sentence in enumerate(sentences, 1):
            if sentence.label not in known:
                raise ValueError(
                    f"line {number} of {files[name].path} has the class {sentence.label!r}, outside those of the "
                    f"training sentences, {', '.join(sorted(known))}: correct it, or give examples of it in train"
                )
    return found


def tabbed_sentences(file: TextFile, encoding: str) -> list[ClassifiedSentence]:
    """Returns the sentences of lines with a tab before the class. Raises ValueError for a line of another form."""
    sentences = []
    for number, line in enumerate(lines_of(file.text(encoding)), 1):
        text, tab, label = line.partition("\t")
        if not tab or "\t" in label or not text.split() or len(label.split()) != 1:
            raise ValueError(
                f"line {number} of {file.path} must be a sentence, one tab and a class of one word: correct it"
            )
        sentences.append(ClassifiedSentence(tuple(text.split()), label.strip()))
    return sentences


def sentences_of_class(file: TextFile, label: str, encoding: str) -> list[ClassifiedSentence]:
    """Returns the sentences of a file whose class its name tells. Raises ValueError for an empty line."""
    sentences = []
    for number, line in enumerate(lines_of(file.text(encoding)), 1):
        if not line.split():
            raise ValueError(f"line {number} of {file.path} is empty: take it out")
        sentences.append(ClassifiedSentence(tuple(line.split()), label))
    return sentences


Sentences = Mapping[str, Sequence[ClassifiedSentence]]


def _fold(by_class: Sentences, config: ClassifiedConfig) -> Sentences:
    """Splits the sentences of each class into ten folds, of which one is for testing."""
    parts: dict[str, list[ClassifiedSentence]] = {"train": [], "test": []}
    fold_of = folds([sentence for found in by_class.values() for sentence in found], config.seed)
    for found in by_class.values():
        for sentence in found:
            parts["test" if fold_of[sentence.words] == config.fold else "train"].append(sentence)
    return parts


def folds(sentences: Sequence[ClassifiedSentence], seed: int) -> dict[tuple[str, ...], int]:
    """Returns the fold 1 … 10 of every sentence: equal shares of each class in each, drawn at random."""
    fold_of: dict[tuple[str, ...], int] = {}
    for label in classes_of(sentences):
        distinct = dict.fromkeys(s.words for s in sentences if s.label == label and s.words not in fold_of)
        texts, order = list(distinct), random_order(len(distinct), seed, stream=_STREAM)
        fold_of |= {texts[place]: 1 + rank % FOLDS for rank, place in enumerate(order.tolist())}
    return fold_of


def _with_valid(found: Sentences, config: ClassifiedConfig) -> Sentences:
    """Takes a share of the training sentences for validation, at random."""
    train = found["train"]
    count = math.ceil(round(config.valid_share * len(train), 6))
    if not 0 < count < len(train):
        raise ValueError(
            f"{len(train):,} training sentences are too few to take a share for validation: give more, or a dev.tsv"
        )
    chosen = set(random_order(len(train), config.seed, stream=_STREAM + 1)[:count].tolist())
    parts = {
        "train": [sentence for place, sentence in enumerate(train) if place not in chosen],
        "valid": [sentence for place, sentence in enumerate(train) if place in chosen],
    }
    return {**found, **parts}


def _write(folder: Path, found: Sentences) -> Written:
    from data.text.tfds_records import write_records

    records = {
        name: [{"words": " ".join(words), "label": label} for words, label in sentences]
        for name, sentences in found.items()
    }
    write_records(folder, records)
    return {}, {"splits": list(found)}


def _read(folder: Path, details: dict[str, Any]) -> Sentences:
    from data.text.tfds_records import read_records

    return {
        name: [ClassifiedSentence(tuple(record["words"].split()), record["label"]) for record in records]
        for name, records in read_records(folder, details["splits"]).items()
    }
