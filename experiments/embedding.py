"""`--embedding FILE`: word vectors of a file as the embedding that a text experiment begins with."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Float32

from data import Vocabulary, read_vectors
from experiments.harness.errors import UserError
from models.cell import Params

EmbeddingFile = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Begin with the word vectors of this file, in word2vec's or GloVe's text format, as the embedding; "
        "words that it lacks begin at random. Its vectors must have the size of the embedding."
    ),
]


class Embedding(NamedTuple):
    """An embedding `matrix [V, D]`, and which of its words the file held, `known [V]`."""

    matrix: Float32[np.ndarray, "V D"]
    known: np.ndarray
    text: str  # says how many


@lru_cache(maxsize=1)  # it is checked before the run begins, and read again for each of several nets
def read_embedding(
    path: Path, vocabulary: Vocabulary, size: int, *, seed: int = 0, option: str = "--embedding-size"
) -> Embedding:
    """Reads the vectors of a vocabulary's words.

    A word that the file lacks takes the vector of its lower-cased form, or else is drawn from a normal distribution
    with the mean square of the others.

    Args:
        path: the file.
        vocabulary: its V words.
        size: numbers in a vector, D.
        seed: of the random vectors.
        option: the one that sets the size.

    Raises UserError where the vectors have another size or none of the words is in the file, ValueError as
    `read_vectors`.
    """
    marks = {vocabulary.unknown, vocabulary.end}
    wanted = [word for word in vocabulary.types if word not in marks]
    words, matrix = read_vectors(path, {form for word in wanted for form in (word, word.lower())})
    if matrix.shape[1] != size:
        raise UserError(
            "--embedding",
            f"{path} has vectors of {matrix.shape[1]} numbers, not {size}: give {option} {matrix.shape[1]}",
        )
    rows = {word: row for row, word in enumerate(words)}
    found = np.array([rows.get(word, rows.get(word.lower(), -1)) for word in vocabulary.types])
    found[[word in marks for word in vocabulary.types]] = -1
    known = found >= 0
    if not known.any():
        raise UserError(
            "--embedding",
            f"{path} holds none of the {len(wanted)} words of the text: is it of the same language?",
        )
    filled = np.random.default_rng(seed).normal(size=(len(vocabulary), size)) * np.sqrt(np.mean(matrix**2))
    filled[known] = matrix[found[known]]
    counted = np.array(vocabulary.counts) * [word not in marks for word in vocabulary.types]
    tokens = counted[known].sum() / max(counted.sum(), 1)
    text = f"embedding: {path} holds {known.sum():,} of {len(wanted):,} words ({tokens:.1%} of the text)"
    return Embedding(filled.astype(np.float32), known, text)


def with_embedding(params: Params, matrix: Any, path: Sequence[str] = ("embedding", "embedding")) -> Params:
    """Returns parameters in which the leaf at `path` within `params["params"]` is the embedding `matrix [V, D]`.

    Raises ValueError where that leaf has another shape.
    """

    def replaced(tree: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        first, *rest = keys
        if rest:
            return {**tree, first: replaced(tree[first], rest)}
        if tree[first].shape != matrix.shape:
            raise ValueError(f"the embedding is {list(tree[first].shape)}, not {list(matrix.shape)}")
        return {**tree, first: jnp.asarray(matrix, tree[first].dtype)}

    return {**params, "params": replaced(params["params"], path)}
