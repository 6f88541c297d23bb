"""Readers of words: a vector for each word of the vocabulary, beside one that a small net makes of its spelling."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from models.cell import Array, Cell, Key, Params, check_at_least
from models.initializers import Glorot
from models.layers.dropout import check_rate
from models.readers import TokenReader
from models.recurrence.unroll import last_output, output_size


@dataclass(frozen=True)
class WordReader:
    """Maps words to vectors, word embedding and character net side by side (Ling et al. 2015):

        x = [E[w], c(a_1 … a_n)],    w the id of the word, a_i those of its characters

    A word is a row of 1 + C ids: its own, then those of its characters, zeros after the last; of a reader without a
    character net the row may have any length. Word id 0 stands for all unknown words: in training `drop_words`
    replaces each word by it with probability `word_dropout`, since else its vector is never trained.

    Parameters: `words`, and `characters` where there is a net.

        reader = WordReader(TokenReader(5000, 100), CharacterConvolution(TokenReader(80, 25)))
        params = reader.init(jax.random.key(0))
        xs = reader(params, inputs)                      # [T, B, 1 + C] → [T, B, 150]
    """

    words: TokenReader
    characters: "CharacterConvolution | CharacterRecurrence | TagReader | None" = None
    word_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.word_dropout)

    @property
    def size(self) -> int:
        """The size of the vectors."""
        return self.words.size + (self.characters.size if self.characters else 0)

    def init(self, key: Key) -> Params:
        first, second = jax.random.split(key)
        words = {"words": self.words.init(first)}
        return words | {"characters": self.characters.init(second)} if self.characters else words

    def __call__(
        self, params: Params, inputs: Int[Array, "*shape columns"]
    ) -> Float[Array, "*shape {self.size}"]:
        """Returns the vectors. Raises ValueError for rows without characters, where there is a net for them."""
        vectors = self.words(params["words"], inputs[..., 0])
        if self.characters is None:
            return vectors
        if inputs.shape[-1] < 2:
            raise ValueError(
                "the words are rows of 1 id, without characters: encode them with an alphabet, or leave out the "
                "character net"
            )
        spelt = self.characters(params["characters"], inputs[..., 1:])
        return jnp.concatenate([vectors, spelt], axis=-1)

    def drop_words(self, inputs: Int[Array, "*shape columns"], key: Key) -> Int[Array, "*shape columns"]:
        """Replaces word ids by 0 with probability `word_dropout`; characters stay."""
        if not self.word_dropout:
            return inputs
        dropped = jax.random.bernoulli(key, self.word_dropout, inputs.shape[:-1])
        return inputs.at[..., 0].set(jnp.where(dropped, 0, inputs[..., 0]))


@dataclass(frozen=True)
class TagReader:
    """Maps the tag of a word, where it is known, to a vector, in place of a net over its characters: the row of a
    word is its id and that of its tag.

        reader = WordReader(TokenReader(5000, 100), TagReader(TokenReader(45, 32)))    # [T, B, 2] → [T, B, 132]
    """

    tags: TokenReader

    @property
    def size(self) -> int:
        """The size of the vector."""
        return self.tags.size

    def init(self, key: Key) -> Params:
        return self.tags.init(key)

    def __call__(self, params: Params, ids: Int[Array, "*shape 1"]) -> Float[Array, "*shape {self.size}"]:
        """Looks the tags up."""
        return self.tags(params, ids[..., 0])


@dataclass(frozen=True)
class CharacterConvolution:
    """Makes a vector of a word's characters: the largest value of each filter over all places in the word,

        c = max_i tanh([e_{i−w/2} … e_{i+w/2}] W + b),    e_i = A[a_i], zero outside the word

    (dos Santos & Zadrozny 2014; Ma & Hovy 2016). `width` w is the number of characters that a filter sees. A word
    without characters gives zeros.

    Parameters: `characters`, `kernel [w · e, F]`, `bias [F]`, F = `size`."""

    characters: TokenReader
    size: int = 50
    width: int = 3

    def __post_init__(self) -> None:
        check_at_least(1, size=self.size, width=self.width)

    def init(self, key: Key) -> Params:
        first, second = jax.random.split(key)
        shape = (self.width * self.characters.size, self.size)
        return {
            "characters": self.characters.init(first),
            "kernel": Glorot()(second, shape),
            "bias": jnp.zeros(self.size),
        }

    def __call__(self, params: Params, ids: Int[Array, "*shape C"]) -> Float[Array, "*shape {self.size}"]:
        """Computes the vectors of words, from the ids of their characters, 0 after the last."""
        inside, count = ids > 0, ids.shape[-1]
        vectors = jnp.where(inside[..., None], self.characters(params["characters"], ids), 0)
        before = (self.width - 1) // 2
        axes = [(0, 0)] * (ids.ndim - 1) + [(before, self.width - 1 - before), (0, 0)]
        padded = jnp.pad(vectors, axes)
        seen = jnp.concatenate([padded[..., i : i + count, :] for i in range(self.width)], axis=-1)
        values = jnp.max(jnp.where(inside[..., None], seen @ params["kernel"], -jnp.inf), axis=-2)
        bias = params["bias"].reshape((1,) * (ids.ndim - 1) + (self.size,))
        spelt = inside[..., :1]
        return jnp.where(spelt, jnp.tanh(jnp.where(spelt, values, 0) + bias), 0)


@dataclass(frozen=True)
class CharacterRecurrence:
    """Makes a vector of a word's characters: the last output of a cell that reads them; for two directions of both
    (Ling et al. 2015; Lample et al. 2016). A word without characters gives zeros.

    Parameters: `characters` and `cell`."""

    characters: TokenReader
    cell: Cell

    @property
    def size(self) -> int:
        """The size of the cell's outputs."""
        params = jax.eval_shape(lambda: self.cell.init(jax.random.key(0), self.characters.size))
        return output_size(self.cell, params, self.characters.size, "the character net")

    def init(self, key: Key) -> Params:
        first, second = jax.random.split(key)
        return {
            "characters": self.characters.init(first),
            "cell": self.cell.init(second, self.characters.size),
        }

    def __call__(self, params: Params, ids: Int[Array, "*shape C"]) -> Float[Array, "*shape {self.size}"]:
        """Computes the vectors of words, from the ids of their characters, 0 after the last."""
        flat = ids.reshape(-1, ids.shape[-1]).T  # [C, words]
        xs = self.characters(params["characters"], flat)
        ys = last_output(self.cell, params["cell"], xs, mask=flat > 0)
        return ys.reshape(*ids.shape[:-1], ys.shape[-1])
