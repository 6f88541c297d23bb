"""A tokenised corpus: token ids by split, the vocabulary, and statistics of the text."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from data.text.builtin_text import builtin_text
from data.text.files import SPLITS, find_files, longest_line, read_file, split_text
from data.text.spelling import Speller
from data.text.tokenizers import Bytes, Characters, SentencePiece, Tokenizer, Unit, Words, lines_of
from data.text.vocabulary import UNKNOWN

MANY_UNKNOWN = 0.05  # fraction of tokens above which the summary warns
_MARKED = re.compile(r"^\s*<(?:s|bos|eos|/s)>|<(?:eos|/s|end)>\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class TextConfig:
    """The choice of a text and of its tokens."""

    dir: Path | None = None
    """A text file, plain or gzipped, or a folder of them, whose names tell train, valid and test (else all are
    split; without a valid file, the end of train is). Default: the English prose of Python's language reference."""
    tfds: str | None = None
    """Instead of --data.dir: the name of a data set in the TFDS catalogue, downloaded if necessary."""
    tfds_feature: str = "text"
    """The text feature of --data.tfds."""
    encoding: str = "utf-8"
    """Encoding of the files of --data.dir, by its Python name: latin-1, cp1252, gb18030, utf-16 …"""
    unit: Unit = "word"
    """A token is a character, a byte, a word between white space, or a subword (bpe, by sentencepiece)."""
    min_count: int | None = None
    """Rarer types of the training text become <unk> (characters, words). Default: 1, or 2 for words if the text has
    no <unk> of its own."""
    vocabulary_limit: int | None = None
    """Maximal number of types besides <unk> and the end mark (characters, words). Default: no limit."""
    bpe_size: int = 4000
    """Number of types of --data.unit bpe, including the marks."""
    valid_share: float = 0.1
    """Fraction for validation of files that are split, or of a training file without a validation file."""
    test_share: float = 0.1
    """Fraction for test, the last part, of files that are split; 0 for none."""
    longest_line: int = 100_000
    """Maximal characters per line, where contexts end at lines (words, bpe)."""
    cache: Path | None = None
    """Folder for the prepared text of --data.dir. Default: one per text and settings in the user's cache folder."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        for name, number in (("min-count", self.min_count), ("vocabulary-limit", self.vocabulary_limit)):
            if number is not None and number < 1:
                raise ValueError(
                    f"--data.{name} must be 1 or more, but is {number}: leave it out for its default"
                )
        self._check_used()
        if self.longest_line < 1:
            raise ValueError(f"--data.longest-line must be 1 or more, but is {self.longest_line}")
        shares = (self.valid_share, self.test_share)
        if not (min(shares) >= 0 and sum(shares) < 1):
            raise ValueError(
                f"--data.valid-share {self.valid_share} and --data.test-share {self.test_share} must be 0 or more "
                "and leave something to train on"
            )
        if self.dir is not None and self.tfds is not None:
            raise ValueError("give --data.dir or --data.tfds, not both")
        self._check_encoding()
        if self.cache is not None and self.dir is None and self.tfds is None:
            raise ValueError(
                "--data.cache is for --data.dir or --data.tfds: the text without either needs none"
            )

    def _check_used(self) -> None:
        """Raises ValueError for an option that this unit or source doesn't read."""
        vocabulary = {"min-count": self.min_count, "vocabulary-limit": self.vocabulary_limit}
        for name, number in vocabulary.items():
            if number is not None and self.unit in ("byte", "bpe"):
                raise ValueError(
                    f"--data.{name} is for characters and words, not for --data.unit {self.unit}"
                )
        if self.bpe_size != TextConfig.bpe_size and self.unit != "bpe":
            raise ValueError(f"--data.bpe-size is for --data.unit bpe, not for --data.unit {self.unit}")
        if self.longest_line != TextConfig.longest_line and self.unit not in ("word", "bpe"):
            raise ValueError(f"--data.longest-line is for words and bpe, not for --data.unit {self.unit}")
        if self.tfds_feature != TextConfig.tfds_feature and self.tfds is None:
            raise ValueError("--data.tfds-feature is for --data.tfds: leave it out, or name a data set")

    def _check_encoding(self) -> None:
        if self.encoding == TextConfig.encoding:
            return
        if self.dir is None or self.unit == "byte":
            raise ValueError("--data.encoding is for the files of --data.dir read as text: leave it out here")
        try:
            "a".encode(self.encoding)
        except LookupError:
            raise ValueError(
                f"--data.encoding {self.encoding!r} is none that Python knows: try latin-1, cp1252 or utf-16"
            ) from None


def _refuse_shares(config: TextConfig, reason: str, *, valid: bool = True) -> None:
    given = config.test_share != TextConfig.test_share
    if given or (valid and config.valid_share != TextConfig.valid_share):
        raise ValueError(f"--data.valid-share and --data.test-share are for a text that is cut, but {reason}")


@dataclass(frozen=True)
class Texts:
    """A text before tokenisation: its splits, a checksum of each file, and the name of each split in messages."""

    splits: Mapping[str, str | bytes]
    origin: Mapping[str, str]
    names: Mapping[str, str]


@dataclass(frozen=True)
class Size:
    """Counts of a split.

    `unknown` counts tokens outside the vocabulary, without the text's own <unk>; `characters` are those of the
    text, whatever its unit; `spelling` is the number of bits with which a character model spells the unknown tokens
    (`Speller`); `marked` counts lines with an end mark of their own.
    """

    tokens: int
    unknown: int
    characters: int
    words: int
    lines: int
    spelling: float
    marked: int


@dataclass(frozen=True, eq=False)
class Corpus:
    """Token ids `splits[name] [T]` int32, for train and, if they exist, valid and test."""

    splits: Mapping[str, Int32[np.ndarray, "_"]]
    tokenizer: Tokenizer
    sizes: Mapping[str, Size]
    origin: Mapping[str, str] = field(default_factory=dict)

    @property
    def held_out(self) -> list[str]:
        """Returns the names of the splits besides train: valid and test, as far as they exist."""
        return [split for split in self.splits if split != "train"]

    def split(self, name: str) -> Int32[np.ndarray, "T"]:
        """Returns the ids of a split. Raises ValueError if the text has no such split."""
        if name not in self.splits:
            raise ValueError(
                f"the text has no {name} split, only {' and '.join(self.splits)}: give a file for it, or a share"
            )
        return self.splits[name]

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns the files with which a run decodes its ids: `vocabulary.json`, and for bpe `bpe.model`."""
        files = {"vocabulary.json": self.tokenizer.vocabulary.to_json()}
        return files | (
            {"bpe.model": self.tokenizer.model} if isinstance(self.tokenizer, SentencePiece) else {}
        )

    def summary(self) -> str:
        """Describes the text: a line in total, a line per split, and a warning for each property that makes
        perplexities misleading."""
        types = len(self.tokenizer.vocabulary)
        first, *others = self.origin
        files = ", ".join(self.origin) if len(others) < 3 else f"{first} and {len(others)} other files"
        lines = [f"text: {files}; {types:,} types"]
        for name, size in self.sizes.items():
            share = size.unknown / max(size.tokens, 1)
            lines.append(f"  {name:<6}{size.tokens:>12,} tokens, {size.unknown:,} unknown ({share:.2%})")
        return "\n".join([*lines, *self._warnings()])

    def _warnings(self) -> list[str]:
        warnings = []
        name, size = max(self.sizes.items(), key=lambda item: item[1].unknown / max(item[1].tokens, 1))
        if size.unknown > MANY_UNKNOWN * size.tokens:
            others = "character or bpe" if isinstance(self.tokenizer, Words) else "byte"
            warnings.append(
                f"warning: {size.unknown / size.tokens:.1%} of the {name} tokens are unknown to the vocabulary, so "
                f"that perplexities tell little: take --data.unit {others}, or keep more types"
            )
        train = self.sizes["train"]
        if isinstance(self.tokenizer, Words | SentencePiece) and train.marked > train.lines / 2:
            warnings.append(
                f"warning: {train.marked:,} of {train.lines:,} lines of the training text bear an end mark of "
                "their own, beside the one that each line gets here, which halves perplexities: take the marks away"
            )
        return warnings


def read_texts(config: TextConfig) -> Texts:
    """Reads the files of `--data.dir`, or the built-in text.

    Raises ValueError as `find_files` and `read_file` do, for lines beyond `longest_line`, and for split fractions
    if the text already has its splits.
    """
    if config.dir is None:
        _refuse_shares(config, "the embedded text has its parts")
        splits = builtin_text(words=config.unit in ("word", "bpe"))
        digest = hashlib.sha256("".join(splits.values()).encode()).hexdigest()
        name = "Python's language reference"
        return Texts(_as_units(splits, config.unit), {name: digest}, dict.fromkeys(splits, name))
    files = {split: [read_file(path) for path in paths] for split, paths in find_files(config.dir).items()}
    origin = {file.path.name: file.checksum for found in files.values() for file in found}
    texts = {
        split: [f.content if config.unit == "byte" else f.text(config.encoding, or_bytes=True) for f in found]
        for split, found in files.items()
    }
    at_lines = config.unit in ("word", "bpe")
    if at_lines:
        for split, paths in files.items():
            for file, text in zip(paths, texts[split], strict=True):
                check_lines(_text(text), str(file.path), config.longest_line)
    if "" not in texts:
        _refuse_shares(config, f"{config.dir} has files for its parts", valid="valid" in texts)
        names = {split: str(found[0].path) for split, found in files.items()}
        whole = {split: found[0] for split, found in texts.items()}
        if "valid" not in texts and config.valid_share:
            of = names["train"]
            names |= {"train": f"{of} (train part)", "valid": f"{of} (valid part)"}
            whole |= split_text(whole["train"], config.valid_share, 0.0, at_lines=at_lines)
        return Texts(whole, origin, names)
    parts: dict[str, Any] = {}
    for text in texts[""]:
        for split, part in split_text(text, config.valid_share, config.test_share, at_lines=at_lines).items():
            before = parts.get(split, "" if isinstance(part, str) else b"")
            ended = not at_lines or not before or before.endswith("\n")
            parts[split] = before + part if ended else before + "\n" + part
    return Texts(parts, origin, {split: f"{config.dir} ({split} part)" for split in parts})


def tokenise(texts: Texts, config: TextConfig) -> Corpus:
    """Learns a tokenizer from the training text and tokenises all splits.

    Raises ValueError for a line beyond `longest_line`, settings that leave no type, and a held-out text in which
    all tokens are unknown.
    """
    config.check()
    if config.unit in ("word", "bpe"):
        for split, text in texts.splits.items():
            check_lines(_text(text), texts.names[split], config.longest_line)
    tokenizer = _learn(texts.splits["train"], config)
    rare = tokenizer.out_of_vocabulary(_text(texts.splits["train"])) if config.unit != "byte" else []
    speller = Speller.of(dict.fromkeys(rare or _text(texts.splits["train"]).split()))
    splits, sizes = {}, {}
    for split in (name for name in SPLITS if name in texts.splits):
        text = texts.splits[split]
        ids = tokenizer.encode_bytes(text) if isinstance(tokenizer, Bytes) else tokenizer.encode(_text(text))  # type: ignore[arg-type]
        splits[split], sizes[split] = ids, _size(ids, text, tokenizer, speller)
        marks = (tokenizer.vocabulary.unknown_id, tokenizer.vocabulary.end_id)
        if np.isin(ids, [mark for mark in marks if mark is not None]).all():
            raise ValueError(
                f"{texts.names[split]} has only unknown {config.unit}s: none of them occurs in the training text; "
                "is it of the same language and format?"
            )
    return Corpus(splits, tokenizer, sizes, texts.origin)


def check_lines(text: str, name: str, longest: int) -> None:
    """Raises ValueError if there is no line, or one of more than `longest` characters."""
    if not lines_of(text):
        raise ValueError(f"{name} is empty: give a text that holds something")
    number, length = longest_line(lines_of(text))
    if length > longest:
        raise ValueError(
            f"line {number} of {name} has {length:,} characters, more than {longest:,}: break it into lines, raise "
            "--data.longest-line, or choose --data.unit character"
        )


def _learn(text: str | bytes, config: TextConfig) -> Any:
    match config.unit:
        case "byte":
            return Bytes.learn(text if isinstance(text, bytes) else text.encode())
        case "character":
            return Characters.learn(_text(text), config.min_count or 1, config.vocabulary_limit)
        case "word":
            words = _text(text)
            least = config.min_count or (1 if f" {UNKNOWN} " in words else 2)
            return Words.learn(words, least, config.vocabulary_limit)
        case "bpe":
            return SentencePiece.learn(_text(text), config.bpe_size)


def _size(ids: Int32[np.ndarray, "T"], text: str | bytes, tokenizer: Tokenizer, speller: Speller) -> Size:
    vocabulary = tokenizer.vocabulary
    unknown = 0 if vocabulary.unknown_id is None else int(np.count_nonzero(ids == vocabulary.unknown_id))
    if isinstance(tokenizer, Words):
        unknown -= sum(word == UNKNOWN for word in _text(text).split())
    newline = "\n" if isinstance(text, str) else b"\n"
    characters = len(text) if isinstance(text, str) else characters_in(text)
    marked = 0 if isinstance(text, bytes) else sum(bool(_MARKED.search(line)) for line in lines_of(text))
    return Size(
        tokens=len(ids),
        unknown=unknown,
        characters=characters,
        words=len(text.split()),
        lines=text.count(newline),  # type: ignore[arg-type]
        spelling=speller.total_bits(tokenizer.out_of_vocabulary(text))
        if isinstance(text, str) and unknown
        else 0.0,
        marked=marked,
    )


def characters_in(content: bytes) -> int:
    """Counts the characters of a text in UTF-8: all bytes except continuation bytes."""
    return int(np.count_nonzero((np.frombuffer(content, np.uint8) & 0xC0) != 0x80))


def _text(text: str | bytes) -> str:
    return text if isinstance(text, str) else text.decode("utf-8", errors="replace")


def _as_units(splits: dict[str, str], unit: Unit) -> Mapping[str, str | bytes]:
    return {split: text.encode() for split, text in splits.items()} if unit == "byte" else splits
