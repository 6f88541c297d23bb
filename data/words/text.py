"""Running text for word vectors: words as ids, without rare ones, sentence by sentence."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from data.text.builtin_text import builtin_text
from data.text.cache_folder import Written, prepare_once
from data.text.files import find_files, read_file
from data.text.vocabulary import UNKNOWN, Vocabulary
from data.words.phrases import join_phrases

WORD = re.compile(r"\w+")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_FRAME = re.compile(r"\*\*\* ?START OF.*?\*\*\*(.*?)(\*\*\* ?END OF|\Z)", re.DOTALL)


@dataclass(frozen=True)
class WordTextConfig:
    """The choice of a running text and of its words."""

    dir: tuple[Path, ...] | None = None
    """Text files, plain or gzipped, or folders of them, all of which are read. Default: the English prose of
    Python's language reference."""
    words: Literal["letters", "spaces"] = "letters"
    """letters: runs of letters, digits and underscores; spaces: what stands between white space."""
    lowercase: bool = True
    """Lower-case all words."""
    min_count: int = 5
    """Leave out words that occur less often."""
    phrases: int = 0
    """Passes in which pairs of words that often occur together become one word, new_york (Mikolov et al. 2013b)."""
    phrase_threshold: float = 100.0
    """Score from which a pair is a phrase; higher for fewer."""
    cache: Path | None = None
    """Folder for the prepared text of --data.dir. Default: one per text and settings in the user's cache folder."""

    def check(self) -> None:
        """Raises ValueError for invalid options, before any file is read."""
        if self.min_count < 1:
            raise ValueError(f"--data.min-count must be 1 or more, but is {self.min_count}")
        if self.phrases < 0:
            raise ValueError(f"--data.phrases must be 0 or more, but is {self.phrases}")
        if not self.phrase_threshold > 0:
            raise ValueError(f"--data.phrase-threshold must be above 0, but is {self.phrase_threshold}")
        if self.cache is not None and not self.dir:
            raise ValueError("--data.cache is for --data.dir: the text without it needs none")


@dataclass(frozen=True, eq=False)
class WordText:
    """A running text: word ids `ids [T]` without sentence marks, and the words of each sentence, `lengths [S]`."""

    ids: Int32[np.ndarray, "T"]
    lengths: Int32[np.ndarray, "S"]
    vocabulary: Vocabulary
    origin: Mapping[str, str] = field(default_factory=dict)

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns the file of the vocabulary."""
        return {"vocabulary.json": self.vocabulary.to_json()}

    def summary(self) -> str:
        """Describes the text in a line."""
        first, *others = self.origin
        files = f"{first} and {len(others)} other files" if others else first
        return (
            f"text: {files}; {len(self.ids):,} words in {len(self.lengths):,} sentences; vocabulary of "
            f"{len(self.vocabulary):,}"
        )


def load_word_text(config: WordTextConfig) -> WordText:
    """Reads the text of a config; one from files is prepared once and then read from the cache.

    Of a file with blank lines a sentence is what stands between them, of another each line. The frame around a book
    of Project Gutenberg is left out, and so is the mark <unk>.

    Raises ValueError for every fault of files or settings.
    """
    config.check()
    if not config.dir:
        texts = list(builtin_text().values())
        digest = hashlib.sha256("".join(texts).encode()).hexdigest()
        return word_text(texts, config, {"Python's language reference": digest})
    files = [
        read_file(path) for place in config.dir for paths in find_files(place).values() for path in paths
    ]
    origin = {file.path.name: file.checksum for file in files}
    used = ("words", "lowercase", "min_count", "phrases", "phrase_threshold")
    return prepare_once(
        config.cache,
        name="words",
        options={name: getattr(config, name) for name in used},
        sources=origin,
        prepare=lambda: word_text([file.text() for file in files], config, origin),
        write=_write,
        read=lambda folder, details: _read(folder, origin),
    )


def word_text(texts: Sequence[str], config: WordTextConfig, origin: Mapping[str, str]) -> WordText:
    """Divides texts into sentences and words, joins phrases, and numbers the words, most frequent first.

    Raises ValueError if no word occurs often enough.
    """
    found = [sentence for text in texts for sentence in _sentences(text, config)]
    for _ in range(config.phrases):
        found = join_phrases(found, config.min_count, config.phrase_threshold)
    counts = Counter(word for sentence in found for word in sentence)
    kept = [word for word in counts if counts[word] >= config.min_count]
    if len(kept) < 2:
        raise ValueError(
            f"{len(kept)} words of the text occur {config.min_count} times or more: lower --data.min-count or give "
            "more text"
        )
    words = sorted(kept, key=lambda word: (-counts[word], word))
    rows = {word: row for row, word in enumerate(words)}
    numbered = [[rows[word] for word in sentence if word in rows] for sentence in found]
    lengths = np.array([len(sentence) for sentence in numbered if sentence], np.int32)
    ids = np.fromiter((row for sentence in numbered for row in sentence), np.int32)
    vocabulary = Vocabulary(tuple(words), tuple(counts[word] for word in words), unknown=None)
    return WordText(ids, lengths, vocabulary, origin)


def _sentences(text: str, config: WordTextConfig) -> Iterator[list[str]]:
    framed = _FRAME.search(text)
    text = framed[1] if framed else text
    text = text.lower() if config.lowercase else text
    parts = _BLANK_LINE.split(text) if _BLANK_LINE.search(text) else text.split("\n")
    for part in parts:  # a line of <unk> alone is not blank
        part = part.replace(UNKNOWN, " ")
        words = WORD.findall(part) if config.words == "letters" else part.split()
        if words:
            yield words


def _write(folder: Path, text: WordText) -> Written:
    from data.text.tfds_cache import write_splits

    write_splits(folder, {"ids": text.ids, "lengths": text.lengths})
    return text.tokenizer_files(), {}


def _read(folder: Path, origin: Mapping[str, str]) -> WordText:
    from data.text.tfds_cache import read_splits

    arrays: dict[str, Any] = read_splits(folder, ["ids", "lengths"])
    return WordText(arrays["ids"], arrays["lengths"], Vocabulary.load(folder / "vocabulary.json"), origin)
