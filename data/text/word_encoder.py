"""Words as rows of ids: their own in a vocabulary, then those of their characters."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from data.text.vocabulary import UNKNOWN, Vocabulary

PADDING = ""  # stands for no character, at id 0


@dataclass(frozen=True)
class WordEncoder:
    """Encodes words for a model that reads them whole and, with an `alphabet`, by their characters.

    A word's row is `[1 + C]`: its id in the vocabulary, 0 for one that isn't there, then the ids of its characters,
    0 after the last, 1 for a character that isn't in the alphabet. Of a word longer than C = `longest` the last
    characters are dropped. In the vocabulary every digit counts as 0 ("1993" is "0000") and, with `lowercase`,
    capitals as small letters; the characters are those of the text.

    Attributes:
        vocabulary: the words, the mark for unknown ones first.
        alphabet: padding, the mark for unknown characters, and the characters; None to encode words alone.
        lowercase: True if capitals count as small letters.
        longest: the most characters of a word.
    """

    vocabulary: Vocabulary
    alphabet: Vocabulary | None = None
    lowercase: bool = True
    longest: int = 20

    @classmethod
    def build(
        cls,
        sentences: Iterable[Sequence[str]],
        *,
        characters: bool = True,
        lowercase: bool = True,
        min_count: int = 1,
        longest: int = 20,
    ) -> "WordEncoder":
        """Builds the encoder of training sentences: words seen at least `min_count` times, and all characters.

        Raises ValueError for a `min_count` or `longest` below 1, and if no word is left."""
        if longest < 1:
            raise ValueError(f"--data.longest-word must be 1 or more, but is {longest}")
        counts = Counter(word for sentence in sentences for word in sentence)
        words: Counter[str] = Counter()
        letters: Counter[str] = Counter()
        for word, count in counts.items():
            words[normal_form(word, lowercase)] += count
            for letter in word[:longest]:
                letters[letter] += count
        alphabet = None
        if characters:
            built = Vocabulary.build(letters)
            alphabet = Vocabulary((PADDING, *built.types), (0, *built.counts))
        return cls(Vocabulary.build(words, min_count=min_count), alphabet, lowercase, longest)

    @property
    def columns(self) -> int:
        """Returns the number of ids of a word."""
        return 1 + (0 if self.alphabet is None else self.longest)

    def encode(self, words: Sequence[str]) -> Int32[np.ndarray, "T columns"]:
        """Returns the row of each word of a sentence."""
        rows = np.zeros((len(words), self.columns), np.int32)
        rows[:, 0] = self.vocabulary.encode(normal_form(word, self.lowercase) for word in words)
        if self.alphabet is not None:
            for row, word in zip(rows, words, strict=True):
                letters = self.alphabet.encode(word[: self.longest])
                row[1 : 1 + len(letters)] = letters
        return rows

    def to_json(self) -> bytes:
        """Returns the content of a file that `load` reads."""
        content = {
            "vocabulary": json.loads(self.vocabulary.to_json()),
            "alphabet": None if self.alphabet is None else json.loads(self.alphabet.to_json()),
            "lowercase": self.lowercase,
            "longest": self.longest,
        }
        return (json.dumps(content, ensure_ascii=False) + "\n").encode()

    @classmethod
    def load(cls, path: Path) -> "WordEncoder":
        """Reads a file written from `to_json`. Raises ValueError if it doesn't exist or is damaged."""
        if not path.is_file():
            raise ValueError(f"there are no words {path}: name a file written by a run")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            parts = [content[name] for name in ("vocabulary", "alphabet")]
            lowercase, longest = bool(content["lowercase"]), int(content["longest"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{path} is damaged: it holds no words and characters") from None
        alphabet = None if parts[1] is None else Vocabulary.from_json(parts[1], path)
        return cls(Vocabulary.from_json(parts[0], path), alphabet, lowercase, longest)


def normal_form(word: str, lowercase: bool) -> str:
    """Returns a word as the vocabulary holds it: digits as 0, capitals as small letters if wished. The mark for
    unknown words stays."""
    if word == UNKNOWN:
        return word
    return re.sub(r"\d", "0", word.lower() if lowercase else word)
