"""The options by which a model reads words: their embedding, and the net over their characters."""

from dataclasses import dataclass
from typing import Literal

from data import SentenceEncoder
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from models import LSTM, Bidirectional, CharacterConvolution, CharacterRecurrence, TokenReader, WordReader

CHARACTER_EMBEDDING = 25  # numbers in the vector of a character


@dataclass(frozen=True)
class WordsConfig:
    """Options of the reader of words.

    Raises UserError for a number outside its range.
    """

    embedding_size: int = 100
    """Size of the embedding of a word."""
    characters: Literal["none", "convolution", "recurrence"] = "convolution"
    """The net that reads the characters of a word, beside its embedding: filters of three characters, or an LSTM in
    both directions."""
    character_size: int = 50
    """Size of the vector that it makes of a word."""
    word_dropout: float = 0.05
    """The share of training words that count as unknown, so that unknown words are learned."""
    vector_dropout: float = 0.3
    """Dropout rate of the words' vectors and of the cell's outputs in training."""

    def __post_init__(self) -> None:
        check_at_least(1, embedding_size=self.embedding_size)
        check_at_least(2, character_size=self.character_size)
        for name in ("word_dropout", "vector_dropout"):
            rate = getattr(self, name)
            if not 0 <= rate < 1:
                raise UserError(
                    f"--{name.replace('_', '-')}", f"must be at least 0 and below 1, but is {rate}"
                )
        if self.characters == "recurrence" and self.character_size % 2:
            raise UserError(
                "--character-size",
                f"{self.character_size} is odd, and an LSTM reads in both directions: take an even one",
            )

    def reader(self, encoder: SentenceEncoder) -> WordReader:
        """Builds the reader of an encoder's words."""
        words = TokenReader(encoder.ids, self.embedding_size)
        net = None
        if encoder.alphabet is not None:
            letters = TokenReader(len(encoder.alphabet), CHARACTER_EMBEDDING)
            if self.characters == "recurrence":
                net = CharacterRecurrence(letters, Bidirectional(LSTM(self.character_size // 2)))
            else:
                net = CharacterConvolution(letters, self.character_size)
        return WordReader(words, net, self.word_dropout)
