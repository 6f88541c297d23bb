"""Sentences with a tag for each word: slots and intents in line-aligned files, parts of speech in CoNLL-U."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from data.synthetic.grammar import Kind, grammar_sentences
from data.text.cache_folder import Written, prepare_once
from data.text.files import SPLITS, TextFile, group_by_split, read_file, split_of_name
from data.text.tokenizers import lines_of

TagKind = Literal["slots", "upos", "xpos"]
SLOT_FILES = ("seq.in", "seq.out", "label")
COLUMNS = 10  # of a line of CoNLL-U
_COLUMN = {"upos": 3, "xpos": 4}
_ENDING = ".conllu"


class TaggedSentence(NamedTuple):
    """The words of a sentence, a tag for each, and the label of the sentence, empty if it has none."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True)
class TaggedConfig:
    """The choice of tagged sentences."""

    dir: Path | None = None
    """Folder of the files: for slots train, valid and test, each with seq.in, seq.out and label, line by line
    (ATIS); for parts of speech files NAME.conllu of train, dev and test, plain or gzipped. Default: sentences of a
    grammar, made from --data.seed."""
    encoding: str = "utf-8"
    """Encoding of the files of --data.dir, by its Python name."""
    unseen: Literal["refuse", "miss"] = "refuse"
    """Held-out sentences may hold tags or labels that no training sentence has, which no model can learn: refuse
    them, as likely mistakes, or count them as missed."""
    min_count: int = 1
    """Words seen less often in training are unknown words."""
    lowercase: bool = True
    """Look words up without regard to capitals; a character net reads them as they are."""
    longest_word: int = 20
    """The most characters of a word that a character net reads."""
    sentences: int = 2000
    """Training sentences that are made."""
    held_out: int = 500
    """Sentences that are made for validation, and as many for test."""
    seed: int = 0
    """Seed of the sentences that are made."""
    cache: Path | None = None
    """Folder for the prepared sentences of --data.dir. Default: one per text in the user's cache."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        for name in ("min_count", "longest_word", "sentences", "held_out"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise ValueError(f"--data.{option} must be 1 or more, but is {getattr(self, name)}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"--data.seed must lie in 0 … 2**64 - 1, but is {self.seed}")


Splits = Mapping[str, Sequence[TaggedSentence]]


class TaggedText(NamedTuple):
    """Tagged sentences by split: train, valid and test. `origin` is a checksum by the name of each file."""

    splits: Splits
    origin: Mapping[str, str]

    def counts(self, split: str = "train") -> Counter[str]:
        """Counts the tags of a split."""
        return Counter(tag for sentence in self.splits[split] for tag in sentence.tags)

    def labels(self, split: str = "train") -> Counter[str]:
        """Counts the labels of sentences of a split; empty if they have none."""
        return Counter(sentence.label for sentence in self.splits[split] if sentence.label)

    def unseen(self, split: str) -> list[str]:
        """Returns the tags and labels of a split that no training sentence has, sorted."""
        tags, labels = self.counts(split).keys() - self.counts(), self.labels(split).keys() - self.labels()
        return sorted({*tags, *labels})

    def summary(self) -> str:
        """Describes the sentences: a line in total, and one for each split."""
        labels = f", {len(self.labels())} labels of sentences" if self.labels() else ""
        lines = [f"sentences: {', '.join(self.origin)}; {len(self.counts())} tags{labels}"]
        train = self.splits["train"]
        known, seen = {word for one in train for word in one.words}, {one.words for one in train}
        for name, sentences in self.splits.items():
            words = [word for sentence in sentences for word in sentence.words]
            line = f"  {name:<6}{len(sentences):>9,} sentences, {len(words):,} words"
            if name != "train":
                unseen, repeated = self.unseen(name), sum(one.words in seen for one in sentences)
                line += f", {sum(word not in known for word in words) / len(words):.1%} not in train"
                line += f"; {repeated:,} sentences occur in train" if repeated else ""
                line += f"; never in train: {', '.join(unseen)}" if unseen else ""
            lines.append(line)
        return "\n".join(lines)


def load_tagged(config: TaggedConfig, kind: TagKind) -> TaggedText:
    """Reads the sentences of `--data.dir`, prepared once and then read from the cache, or makes them.

    Raises ValueError for every fault of files or settings; with `unseen` refuse, for tags and labels in held-out
    sentences of files that no training sentence has.
    """
    config.check()
    text = _made(config, kind) if config.dir is None else _from_files(config, config.dir, kind)
    for split in ("valid", "test"):
        unseen = text.unseen(split)
        if unseen and config.unseen == "refuse" and config.dir is not None:
            raise ValueError(
                f"the {split} split has {', '.join(unseen)}, which no training sentence has: correct them, or "
                "count them as missed by --data.unseen miss"
            )
    return text


def _made(config: TaggedConfig, kind: TagKind) -> TaggedText:
    if kind == "xpos":
        raise ValueError(
            "the sentences that are made have no xpos: give CoNLL-U files by --data.dir, or take upos"
        )
    kinds: Sequence[Kind] = ("request",) if kind == "slots" else get_args(Kind)
    ends = (0, *(config.sentences + parts * config.held_out for parts in range(3)))
    sentences = [
        TaggedSentence(one.words, one.slots, one.intent)
        if kind == "slots"
        else TaggedSentence(one.words, one.tags)
        for one in grammar_sentences(config.seed, ends[-1], kinds=kinds)
    ]
    splits = {split: sentences[a:b] for split, a, b in zip(SPLITS, ends, ends[1:], strict=False)}
    digest = hashlib.sha256(json.dumps(sentences).encode()).hexdigest()
    return TaggedText(splits, {f"made from seed {config.seed}": digest})


def _from_files(config: TaggedConfig, location: Path, kind: TagKind) -> TaggedText:
    if not location.is_dir():
        raise ValueError(
            f"there is no folder {location}: name one that holds tagged sentences with --data.dir"
        )
    found = find_slot_files(location) if kind == "slots" else find_conllu_files(location)
    read = {split: [read_file(path) for path in paths] for split, paths in found.items()}
    origin = {
        str(file.path.relative_to(location)): file.checksum for files in read.values() for file in files
    }

    def parse() -> Splits:
        if kind == "slots":
            return {split: slot_sentences(files, config.encoding) for split, files in read.items()}
        return {split: conllu_sentences(file, kind, config.encoding) for split, (file,) in read.items()}

    splits = prepare_once(
        config.cache,
        name=location.resolve().name,
        options={"kind": kind, "encoding": config.encoding},
        sources=origin,
        prepare=parse,
        write=_write,
        read=_read,
    )
    return TaggedText(splits, origin)


def find_slot_files(location: Path) -> dict[str, list[Path]]:
    """Finds seq.in, seq.out and, if there is one, label in the folders train, valid (or dev) and test.

    Raises ValueError for a folder or file that is missing."""
    folders = {split_of_name(path): path for path in sorted(location.iterdir()) if path.is_dir()}
    found = {}
    for split in SPLITS:
        if split not in folders:
            raise ValueError(
                f"{location} has no folder {split}: give train, valid and test, each with "
                f"{', '.join(SLOT_FILES)}"
            )
        paths = [folders[split] / name for name in SLOT_FILES]
        for path in paths[:2]:
            if not path.is_file():
                raise ValueError(
                    f"there is no file {path}: give one with a sentence's words or tags on each line"
                )
        found[split] = [path for path in paths if path.is_file()]
    return found


def slot_sentences(files: Sequence[TextFile], encoding: str) -> list[TaggedSentence]:
    """Returns the sentences of files of words, of IOB tags and perhaps of labels, line by line.

    Raises ValueError, naming file and line, where they don't align or a tag is none of IOB."""
    lines = [lines_of(file.text(encoding)) for file in files]
    for file, found in zip(files[1:], lines[1:], strict=True):
        if len(found) != len(lines[0]):
            raise ValueError(
                f"{files[0].path} has {len(lines[0]):,} lines, but {file.path} has {len(found):,}: give files that "
                "belong together line by line"
            )
    sentences = []
    for number, (words, tags, *label) in enumerate(zip(*lines, strict=True), 1):
        sentence = TaggedSentence(tuple(words.split()), tuple(tags.split()), *(one.strip() for one in label))
        if not sentence.words or (label and not sentence.label):
            empty = files[0] if not sentence.words else files[2]
            raise ValueError(f"line {number} of {empty.path} is empty: take the sentence out of all files")
        if len(sentence.tags) != len(sentence.words):
            raise ValueError(
                f"line {number} of {files[1].path} has {len(sentence.tags)} tags, but that of {files[0].path} "
                f"{len(sentence.words)} words: give one tag for each word"
            )
        for tag in sentence.tags:
            if tag != "O" and not (tag[:2] in ("B-", "I-") and tag[2:]):
                raise ValueError(
                    f"line {number} of {files[1].path} has {tag!r}, which is no IOB tag: each is O, or B- "
                    "or I- and a type"
                )
        sentences.append(sentence)
    return sentences


def find_conllu_files(location: Path) -> dict[str, list[Path]]:
    """Finds the files of train, valid and test in CoNLL-U by their names. Raises ValueError if one is missing."""
    endings = (_ENDING, f"{_ENDING}.gz")
    found = [path for path in sorted(location.iterdir()) if path.name.endswith(endings) and path.is_file()]
    grouped = group_by_split(location, found) if found else {}
    for split in SPLITS:
        if split not in grouped:
            raise ValueError(
                f"{location} has no {split} file in CoNLL-U: give one each of train, dev and test, as their names "
                f"say, that end in {_ENDING}"
            )
    return {split: grouped[split] for split in SPLITS}


def conllu_sentences(file: TextFile, kind: TagKind, encoding: str) -> list[TaggedSentence]:
    """Returns the sentences of a file in CoNLL-U: the words of its syntax, without the ranges of what is written
    together ("1-2", "don't") and without empty nodes ("8.1"). Nivre et al. 2020.

    Raises ValueError, naming the line, for one of too few columns or without a tag, and for a file without a
    sentence."""
    sentences: list[TaggedSentence] = []
    words: list[tuple[str, str]] = []
    for number, line in enumerate([*lines_of(file.text(encoding)), ""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if words:
                sentences.append(TaggedSentence(*zip(*words, strict=True)))  # type: ignore[arg-type]
            words = []
            continue
        columns = line.split("\t")
        if len(columns) != COLUMNS:
            raise ValueError(
                f"line {number} of {file.path} has {len(columns)} columns, but CoNLL-U has {COLUMNS}, with "
                "tabs between"
            )
        if not columns[0].isdecimal():
            continue
        word, tag = columns[1], columns[_COLUMN[kind]]
        if not word or tag in ("", "_"):
            raise ValueError(f"line {number} of {file.path} has no {kind}: give every word a tag")
        words.append((word, tag))
    if not sentences:
        raise ValueError(f"{file.path} holds no sentence: give lines of {COLUMNS} columns, a word on each")
    return sentences


def _write(folder: Path, splits: Splits) -> Written:
    from data.text.tfds_records import write_records

    records = {
        split: [
            {"words": "\t".join(one.words), "tags": " ".join(one.tags), "label": one.label}
            for one in sentences
        ]
        for split, sentences in splits.items()
    }
    write_records(folder, records)
    return {}, {"splits": list(splits)}


def _read(folder: Path, details: dict[str, Any]) -> Splits:
    from data.text.tfds_records import read_records

    return {
        split: [
            TaggedSentence(tuple(one["words"].split("\t")), tuple(one["tags"].split(" ")), one["label"])
            for one in records
        ]
        for split, records in read_records(folder, details["splits"]).items()
    }
