"""Sentences in the order of their text: of short made tales, or of the files of a folder."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.sentence_text import SentenceText
from data.synthetic.tales import tales
from data.text.files import SPLITS, read_file
from data.text.tokenizers import SentencePiece

SHARES = (0.9, 0.95)  # of each file: training to the first, validation to the second, test after it
_STOP = re.compile(r"(?<=[.!?])[\"”’')]*\s+(?=[\"“‘'(]*[A-Z])")
Chains = list[list[str]]


@dataclass(frozen=True)
class RunningConfig:
    """The choice of a text whose sentences follow one another."""

    dir: Path | None = None
    """Folder of books, files that end in .txt or .txt.gz: of each the first 90 % are for training, the next 5 % for
    validation, the rest for test. Default: short tales made from a seed."""
    encoding: str = "utf-8"
    """Encoding of the files of --data.dir, by its Python name."""
    longest: int = 30
    """Leave out sentences of more words, and with them the neighbourhood of those beside them."""
    types: int = 2000
    """Most types of the vocabulary of pieces, marks included."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        for name, least in {"longest": 1, "types": 3}.items():
            if getattr(self, name) < least:
                raise ValueError(f"--data.{name} must be {least} or more, but is {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class RunningText(SentenceText):
    """Tokenised sentences, with the `chains` of those that follow one another, by split."""

    chains: Mapping[str, Chains]

    def triples(self, split: str) -> list[tuple[str, str, str]]:
        """Returns each sentence that has neighbours on both sides, between them."""
        return [
            three for chain in self.chains[split] for three in zip(chain, chain[1:], chain[2:], strict=False)
        ]


def load_running(config: RunningConfig) -> RunningText:
    """Reads the text and learns the pieces of its training sentences.

    Raises ValueError for every fault of files or settings, and for a split without three sentences in a row."""
    config.check()
    parts, origin = _tales() if config.dir is None else _books(config.dir, config.encoding)
    chains: dict[str, Chains] = {}
    left_out: dict[str, int] = {}
    for split in SPLITS:
        chains[split], left_out[split] = _kept(parts[split], config.longest)
        if not any(len(chain) > 2 for chain in chains[split]):
            raise ValueError(
                f"no three {split} sentences in a row have at most {config.longest} words: raise --data.longest or "
                "give a longer text"
            )
    splits = {split: [one for chain in found for one in chain] for split, found in chains.items()}
    tokenizer = SentencePiece.learn(
        "\n".join(splits["train"]), config.types, at_most=True, option="--data.types"
    )
    return RunningText(splits, tokenizer, left_out, origin, chains)


def sentences_of(text: str) -> list[str]:
    """Splits a text after full stops, question and exclamation marks before a capital letter."""
    return [one for one in _STOP.split(" ".join(text.split())) if one]


def _tales() -> tuple[dict[str, Chains], dict[str, str]]:
    made = tales()
    text = "\n".join(one for found in made.values() for tale in found for one in tale)
    return made, {"tales made from a seed": hashlib.sha256(text.encode()).hexdigest()}


def _books(location: Path, encoding: str) -> tuple[dict[str, Chains], dict[str, str]]:
    if not location.is_dir():
        raise ValueError(f"there is no folder {location}: name one that holds books with --data.dir")
    paths = sorted(p for p in location.iterdir() if p.name.endswith((".txt", ".txt.gz")) and p.is_file())
    if not paths:
        raise ValueError(f"{location} has no file that ends in .txt or .txt.gz: give a folder of books")
    chains: dict[str, Chains] = {split: [] for split in SPLITS}
    origin: dict[str, str] = {}
    for path in paths:
        file = read_file(path)
        origin[path.name] = file.checksum
        sentences = sentences_of(file.text(encoding))
        ends = [0, *(int(share * len(sentences)) for share in SHARES), len(sentences)]
        for split, start, end in zip(SPLITS, ends, ends[1:], strict=False):
            chains[split].append(sentences[start:end])
    return chains, origin


def _kept(chains: Sequence[Sequence[str]], longest: int) -> tuple[Chains, int]:
    """Breaks chains at sentences of too many words; returns them, and the number of those sentences."""
    kept: Chains = []
    left_out = 0
    for chain in chains:
        kept.append([])
        for one in chain:
            if len(one.split()) > longest:
                left_out += 1
                kept.append([])
            else:
                kept[-1].append(one)
    return [chain for chain in kept if chain], left_out
