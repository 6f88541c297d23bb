"""The options by which a model reads words: their embedding, and the net over their characters."""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from data import WordEncoder
from experiments.embedding import EmbeddingFile, read_embedding, with_embedding
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from models import LSTM, Bidirectional, CharacterConvolution, CharacterRecurrence, TokenReader, WordReader
from models.cell import Params

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

    def reader(self, encoder: WordEncoder) -> WordReader:
        """Builds the reader of an encoder's words."""
        words = TokenReader(len(encoder.vocabulary), self.embedding_size)
        net = None
        if encoder.alphabet is not None:
            letters = TokenReader(len(encoder.alphabet), CHARACTER_EMBEDDING)
            if self.characters == "recurrence":
                net = CharacterRecurrence(letters, Bidirectional(LSTM(self.character_size // 2)))
            else:
                net = CharacterConvolution(letters, self.character_size)
        return WordReader(words, net, self.word_dropout)

    def initial(
        self, model: nn.Module, encoder: WordEncoder, embedding: EmbeddingFile | None, seed: int
    ) -> Params:
        """Draws a model's parameters; with an embedding its vectors of words are those of a file."""
        rows = jnp.zeros((1, 1, encoder.columns), jnp.int32)
        params: Any = jax.jit(model.init)(jax.random.fold_in(jax.random.key(seed), 1), rows)
        if embedding is None:
            return params
        found = read_embedding(embedding, encoder.vocabulary, self.embedding_size, seed=seed)
        print(found.text, flush=True)
        return with_embedding(params, found.matrix, ("reader", "words", "embedding"))
