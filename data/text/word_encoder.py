"""Sentences as rows of ids: of words with those of their characters, or of the tokens that another model reads."""

import base64
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from data.text.tokenizers import Bytes, Characters, SentencePiece, Tokenizer, Words
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

    @property
    def ids(self) -> int:
        """Returns the number of ids that words have."""
        return len(self.vocabulary)

    def form(self, word: str) -> str:
        """Returns a word as the vocabulary holds it."""
        return normal_form(word, self.lowercase)

    def shown(self, words: Sequence[str]) -> tuple[str, ...]:
        """Returns what stands for each row of a sentence: its words."""
        return tuple(words)

    def row_of(self, words: Sequence[str], place: int) -> int:
        """Returns the row of the word at a place."""
        return place

    def unknown_share(self, sentences: Iterable[Sequence[str]]) -> float:
        """Returns the share of words outside the vocabulary."""
        return _share(self.form(word) not in self.vocabulary for words in sentences for word in words)

    def encode(self, words: Sequence[str]) -> Int32[np.ndarray, "T columns"]:
        """Returns the row of each word of a sentence."""
        rows = np.zeros((len(words), self.columns), np.int32)
        rows[:, 0] = self.vocabulary.encode(map(self.form, words))
        if self.alphabet is not None:
            for row, word in zip(rows, words, strict=True):
                letters = self.alphabet.encode(word[: self.longest])
                row[1 : 1 + len(letters)] = letters
        return rows

    def to_json(self) -> bytes:
        """Returns the content of a file that `load_encoder` reads."""
        content = {
            "vocabulary": json.loads(self.vocabulary.to_json()),
            "alphabet": None if self.alphabet is None else json.loads(self.alphabet.to_json()),
            "lowercase": self.lowercase,
            "longest": self.longest,
        }
        return (json.dumps(content, ensure_ascii=False) + "\n").encode()


@dataclass(frozen=True)
class TokenEncoder:
    """Encodes words as the tokens of a text that another model has read, a row of one id each.

    Attributes:
        tokenizer: of that text. One of words gives every word one token; others cut the sentence, its words joined
            by blanks, into pieces.
        marks: how many further ids the model has beyond the vocabulary, as `MaskedLanguageModel` has.
        framed: True to put the first of the marks before a sentence and the second after it, as `masked_batch`
            does.
    """

    tokenizer: Tokenizer
    marks: int = 0
    framed: bool = False

    columns = 1
    alphabet = None

    @property
    def vocabulary(self) -> Vocabulary:
        """Returns the vocabulary of the tokens."""
        return self.tokenizer.vocabulary

    @property
    def ids(self) -> int:
        """Returns the number of ids, those of the marks included."""
        return len(self.vocabulary) + self.marks

    @property
    def of_words(self) -> bool:
        """Returns True if every word is one token."""
        return isinstance(self.tokenizer, Words)

    def form(self, word: str) -> str:
        """Returns a word as the vocabulary holds it."""
        return word

    def tokens(self, words: Sequence[str]) -> Int32[np.ndarray, "T"]:
        """Returns the ids of a sentence without marks."""
        if self.of_words:
            return self.vocabulary.encode(words)
        return np.asarray(self.tokenizer.encode_prompt(" ".join(words)), np.int32)

    def encode(self, words: Sequence[str]) -> Int32[np.ndarray, "T columns"]:
        """Returns the row of each token of a sentence."""
        ids, types = self.tokens(words), len(self.vocabulary)
        return (np.array([types, *ids, types + 1], np.int32) if self.framed else ids)[:, None]

    def shown(self, words: Sequence[str]) -> tuple[str, ...]:
        """Returns what stands for each row of a sentence: its tokens, and the marks."""
        types = self.vocabulary.types
        tokens = tuple(words) if self.of_words else tuple(types[token] for token in self.tokens(words))
        return ("[begin]", *tokens, "[end]") if self.framed else tokens

    def row_of(self, words: Sequence[str], place: int) -> int:
        """Returns the row where the word at a place ends."""
        return len(self.tokens(words[: place + 1])) - 1 + self.framed

    def unknown_share(self, sentences: Iterable[Sequence[str]]) -> float:
        """Returns the share of tokens outside the vocabulary."""
        unknown = self.vocabulary.unknown_id
        return _share(token == unknown for words in sentences for token in self.tokens(words).tolist())

    def to_json(self) -> bytes:
        """Returns the content of a file that `load_encoder` reads."""
        model = getattr(self.tokenizer, "model", None)
        content = {
            "tokens": type(self.tokenizer).__name__,
            "vocabulary": json.loads(self.vocabulary.to_json()),
            "model": None if model is None else base64.b64encode(model).decode(),
            "marks": self.marks,
            "framed": self.framed,
        }
        return (json.dumps(content, ensure_ascii=False) + "\n").encode()


SentenceEncoder = WordEncoder | TokenEncoder


def load_encoder(path: Path) -> SentenceEncoder:
    """Reads a file written from an encoder's `to_json`. Raises ValueError if it doesn't exist or is damaged."""
    if not path.is_file():
        raise ValueError(f"there are no words {path}: name a file written by a run")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = Vocabulary.from_json(content["vocabulary"], path)
        if "tokens" in content:
            tokenizer = _tokenizer(content["tokens"], vocabulary, content["model"])
            return TokenEncoder(tokenizer, int(content["marks"]), bool(content["framed"]))
        letters, lowercase, longest = content["alphabet"], bool(content["lowercase"]), int(content["longest"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path} is damaged: it holds no words and characters") from None
    alphabet = None if letters is None else Vocabulary.from_json(letters, path)
    return WordEncoder(vocabulary, alphabet, lowercase, longest)


def _tokenizer(kind: str, vocabulary: Vocabulary, model: str | None) -> Tokenizer:
    if model is not None:
        return SentencePiece(vocabulary, base64.b64decode(model))
    return {"Characters": Characters, "Bytes": Bytes, "Words": Words}[kind](vocabulary)


def _share(unknown: Iterable[bool]) -> float:
    found = Counter(unknown)
    return found[True] / max(found.total(), 1)


def normal_form(word: str, lowercase: bool) -> str:
    """Returns a word as the vocabulary holds it: digits as 0, capitals as small letters if wished. The mark for
    unknown words stays."""
    if word == UNKNOWN:
        return word
    return re.sub(r"\d", "0", word.lower() if lowercase else word)
