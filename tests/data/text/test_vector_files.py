"""Word vectors as text, beside gensim's reader, and files that break its rules."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from data import format_vectors, read_vectors

WORDS = ["the", "naïve", "<unk>", "12"]
MATRIX = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "vectors.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_round_trip(tmp_path: Path) -> None:
    """Every bit comes back, from a plain file and a gzipped one."""
    content = format_vectors(WORDS, MATRIX)
    for packed in (content, gzip.compress(content)):
        words, matrix = read_vectors(written(tmp_path, packed))
        assert list(words) == WORDS
        assert matrix.tobytes() == MATRIX.tobytes()


def test_other_layouts(tmp_path: Path) -> None:
    """GloVe's without a first line, with blanks in a word; tabs; blanks at the end of a line; a word twice."""
    path = written(tmp_path, "the 1 2\n. . 3 4\na\t5\t6 \r\n\nthe 7 8\n")
    words, matrix = read_vectors(path)
    assert words == ("the", ". .", "a")
    assert matrix.tolist() == [[1, 2], [3, 4], [5, 6]]
    words, matrix = read_vectors(path, {"a", "none"})
    assert (words, matrix.tolist()) == (("a",), [[5, 6]])
    assert read_vectors(path, {"none"}).matrix.shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2 2\nthe 1 2\na 3\n", "line 3 of .* holds 1 numbers after the word 'a', and should hold 2"),
        ("the 1 2\na 3 x\n", "line 2 of .* holds 'x' where a finite number should stand"),
        ("the 1 2\n\na 3 nan\n", "line 3 of .* holds 'nan'"),
        ("the 1 2\na 1 2 3\nb b c d\n", "line 3 of .* holds 'c'"),
        ("3 2\nthe 1 2\na 3 4\n", "line 1 of .* promises 3 words, but 2 follow"),
        ("the\n", "line 1 of .* holds 0 numbers"),
        ("\n\n", "holds no word vectors"),
        (b"2 2\nthe \xff\xfe\x00\n", "line 2 of .* is not UTF-8: if it is word2vec's binary format"),
        (gzip.compress(b"the 1 2\n" * 9, mtime=0)[:-9], "is damaged: it begins as a gzip file"),
    ],
)
def test_broken(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_vectors(written(tmp_path, text))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        read_vectors(tmp_path / "none.txt")


def test_word_with_blank() -> None:
    with pytest.raises(ValueError, match="'two words' holds white space"):
        format_vectors(["two words"], MATRIX[:1])


@pytest.mark.peers
def test_gensim(tmp_path: Path) -> None:
    """gensim reads what is written here, and what it writes is read here."""
    models = pytest.importorskip("gensim.models")
    path = written(tmp_path, format_vectors(WORDS, MATRIX))
    theirs = models.KeyedVectors.load_word2vec_format(path)
    assert list(theirs.index_to_key) == WORDS
    np.testing.assert_array_equal(theirs.vectors, MATRIX)
    theirs.save_word2vec_format(tmp_path / "theirs.txt")
    words, matrix = read_vectors(tmp_path / "theirs.txt")
    assert list(words) == WORDS
    np.testing.assert_array_equal(matrix, MATRIX)
