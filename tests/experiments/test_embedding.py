"""`--embedding FILE`: rows of known and unknown words, coverage, refusals, the start of a language model."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import TextConfig, Vocabulary, format_vectors
from experiments.embedding import read_embedding, with_embedding
from experiments.language.char_lm import Config
from experiments.language.train import text_task

VOCABULARY = Vocabulary(("<unk>", "<eos>", "the", "Cat", "zyx"), (7, 5, 60, 30, 10), end="<eos>")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    matrix = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
    path = tmp_path / "vectors.txt"
    path.write_bytes(format_vectors(["the", "cat", "<unk>", "other"], matrix))
    return path


def test_rows(file: Path) -> None:
    """Known words have their vectors, by their lower-cased form too; marks and unknown words don't."""
    found = read_embedding(file, VOCABULARY, 2)
    assert found.known.tolist() == [False, False, True, True, False]
    assert found.matrix[[2, 3]].tolist() == [[1, 2], [3, 4]]
    assert np.unique(found.matrix, axis=0).shape == (5, 2)
    assert found.text.endswith("holds 2 of 3 words (90.0% of the text)")


def test_scale_of_random_rows(tmp_path: Path) -> None:
    """Drawn with the mean square of the known ones, here 9, whatever they are; other seeds, other draws."""
    path = tmp_path / "vectors.txt"
    path.write_text("the " + "3 " * 2000 + "\n")
    one, other = (read_embedding(path, VOCABULARY, 2000, seed=seed).matrix[4] for seed in (0, 1))
    assert np.mean(one**2) == pytest.approx(9, rel=0.15)
    assert abs(one @ other) < 9 * 2000**0.5 * 4


def test_refusals(file: Path) -> None:
    with pytest.raises(
        ValueError, match=r"--embedding .* has vectors of 2 numbers, not 3: give --embedding-size 2"
    ):
        read_embedding(file, VOCABULARY, 3)
    with pytest.raises(ValueError, match="holds none of the 1 words"):
        read_embedding(file, Vocabulary(("<unk>", "das"), (1, 9)), 2)
    with pytest.raises(ValueError, match=r"the embedding is \[5, 3\], not \[5, 2\]"):
        with_embedding({"params": {"embedding": {"embedding": jnp.zeros((5, 3))}}}, np.zeros((5, 2)))


def test_language_model_begins_with_it(tmp_path: Path) -> None:
    """A character model whose parameters are those without the file but for the embedding."""
    (tmp_path / "vectors.txt").write_text("e 1 2 3\nt 4 5 6\n")
    data = TextConfig(unit="character")
    plain = Config(data=data, hidden_size=4, embedding_size=3)
    given = Config(data=data, hidden_size=4, embedding_size=3, embedding=tmp_path / "vectors.txt")
    one, other = (text_task(config, plain.corpus).initial(0) for config in (plain, given))  # type: ignore[misc]
    place = plain.corpus.tokenizer.vocabulary.types.index("t")
    assert other["params"]["embedding"]["embedding"][place].tolist() == [4, 5, 6]
    jax.tree.map(
        np.testing.assert_array_equal, with_embedding(other, one["params"]["embedding"]["embedding"]), one
    )


def test_command_line(tmp_path: Path, refused: Callable[..., None]) -> None:
    """Refused before the run's folder is made."""
    path = tmp_path / "vectors.txt"
    path.write_text("e 1 2 3\nt 4 5\n")
    options = ("char_lm", "--embedding", path, "--hidden-size", 4)
    refused("line 2 of", *options, "--embedding-size", 3)
    path.write_text("e 1 2 3\nt 4 5 6\n")
    refused("has vectors of 3 numbers, not 4: give --embedding-size 3", *options, "--embedding-size", 4)
