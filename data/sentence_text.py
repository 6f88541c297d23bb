"""Sentences of one language as pieces: from files, a sentence a line, or of a grammar made from a seed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from data.synthetic.grammar import grammar_sentences
from data.text.files import SPLITS, group_by_split, read_file
from data.text.pair_tokenizers import tokenizer_files
from data.text.tokenizers import SentencePiece, lines_of

MADE_TYPES, FILE_TYPES = 400, 6000


@dataclass(frozen=True)
class SentencesConfig:
    """The choice of sentences."""

    dir: Path | None = None
    """Folder of files NAME.ENDING, plain or gzipped, a sentence a line, whose names tell train, valid (or dev) and
    test. Default: sentences of a grammar, made from --data.seed."""
    ending: str = "txt"
    """The ending of the files' names, such as en."""
    encoding: str = "utf-8"
    """Encoding of the files of --data.dir, by its Python name."""
    longest: int = 12
    """Leave out sentences of more words, from all splits; the summary says how many."""
    types: int | None = None
    """Most types of the vocabulary of pieces, marks included. Default: 6000, of sentences that are made 400."""
    sentences: int = 10_000
    """Training sentences that are made."""
    held_out: int = 400
    """Sentences that are made for validation, and as many for test."""
    seed: int = 0
    """Seed of the sentences that are made."""

    @property
    def most_types(self) -> int:
        """Returns the most types of the vocabulary."""
        return self.types or (MADE_TYPES if self.dir is None else FILE_TYPES)

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        for name, least in {"longest": 1, "sentences": 1, "held_out": 1, "types": 3}.items():
            number = getattr(self, name)
            if number is not None and number < least:
                option = name.replace("_", "-")
                raise ValueError(f"--data.{option} must be {least} or more, but is {number}")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"--data.seed must lie in 0 … 2**64 - 1, but is {self.seed}")


@dataclass(frozen=True, eq=False)
class SentenceText:
    """Tokenised sentences.

    Attributes:
        splits: train, valid and test, as text.
        tokenizer: pieces learned from the training sentences.
        left_out: of each split how many were too long.
        origin: a checksum by the name of each file, or of what was made.
    """

    splits: Mapping[str, Sequence[str]]
    tokenizer: SentencePiece
    left_out: Mapping[str, int]
    origin: Mapping[str, str]

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns the files that a run keeps of the tokenizer."""
        return tokenizer_files(self.tokenizer, self.tokenizer)

    def encode(self, sentences: Sequence[str]) -> list[Int32[np.ndarray, "_"]]:
        """Returns the ids of each sentence, the end mark last."""
        ids = self.tokenizer.encode("\n".join(sentences))
        ends = np.flatnonzero(ids == self.tokenizer.vocabulary.end_id) + 1
        return np.split(ids, ends[:-1])

    def summary(self) -> str:
        """Describes the sentences: a line in total, and one for each split."""
        lines = [f"sentences: {', '.join(self.origin)}; {len(self.tokenizer.vocabulary):,} types of pieces"]
        known = set(self.splits["train"])
        for name, sentences in self.splits.items():
            pieces = sum(map(len, self.encode(sentences)))
            line = f"  {name:<6}{len(sentences):>7,} sentences, {pieces:,} pieces"
            repeated = 0 if name == "train" else sum(one in known for one in sentences)
            line += f"; {repeated:,} occur in train" if repeated else ""
            too_long = self.left_out[name]
            lines.append(line + (f"; {too_long:,} longer than --data.longest left out" if too_long else ""))
        return "\n".join(lines)


def load_sentences(config: SentencesConfig) -> SentenceText:
    """Reads the sentences of `--data.dir`, or makes them, and learns the pieces of the training sentences.

    Raises ValueError for every fault of files or settings, and for a split without a sentence of at most `longest`
    words.
    """
    config.check()
    splits, origin = _made(config) if config.dir is None else _from_files(config, config.dir)
    kept = {
        name: [one for one in sentences if len(one.split()) <= config.longest]
        for name, sentences in splits.items()
    }
    for name, sentences in kept.items():
        if not sentences:
            raise ValueError(
                f"no {name} sentence has at most {config.longest} words: raise --data.longest or give more"
            )
    text = "\n".join(kept["train"])
    tokenizer = SentencePiece.learn(text, config.most_types, at_most=True, option="--data.types")
    left_out = {name: len(sentences) - len(kept[name]) for name, sentences in splits.items()}
    return SentenceText(kept, tokenizer, left_out, origin)


Splits = Mapping[str, Sequence[str]]


def _made(config: SentencesConfig) -> tuple[Splits, Mapping[str, str]]:
    ends = (0, *(config.sentences + parts * config.held_out for parts in range(3)))
    sentences = [sentence.text for sentence in grammar_sentences(config.seed, ends[-1])]
    digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
    splits = {split: sentences[a:b] for split, a, b in zip(SPLITS, ends, ends[1:], strict=False)}
    return splits, {f"made from seed {config.seed}": digest}


def _from_files(config: SentencesConfig, location: Path) -> tuple[Splits, Mapping[str, str]]:
    files = {split: read_file(path) for split, path in find_sentence_files(location, config.ending).items()}
    splits = {
        split: [line.strip() for line in lines_of(file.text(config.encoding)) if line.strip()]
        for split, file in files.items()
    }
    return splits, {file.path.name: file.checksum for file in files.values()}


def find_sentence_files(location: Path, ending: str) -> dict[str, Path]:
    """Finds the files of a folder by the splits that their names tell: train, valid and test.

    Raises ValueError if there is no such folder, or a file is missing."""
    if not location.is_dir():
        raise ValueError(f"there is no folder {location}: name one that holds sentences with --data.dir")
    endings = (f".{ending}", f".{ending}.gz")
    found = [path for path in sorted(location.iterdir()) if path.name.endswith(endings) and path.is_file()]
    grouped = group_by_split(location, found) if found else {}
    for split in SPLITS:
        if split not in grouped:
            raise ValueError(
                f"{location} has no {split} file that ends in .{ending}: give one each of train, dev and test, as "
                "their names say, or another --data.ending"
            )
    return {split: grouped[split][0] for split in SPLITS}
