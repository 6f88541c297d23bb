"""Word vectors as text: the formats of word2vec and of GloVe."""

import gzip
import math
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32


class WordVectors(NamedTuple):
    """A vector for each word, `words [N]` and `matrix [N, D]`."""

    words: tuple[str, ...]
    matrix: Float32[np.ndarray, "N D"]


def read_vectors(path: Path, wanted: Collection[str] | None = None) -> WordVectors:
    """Reads word vectors as text, plain or gzipped, in the format of word2vec or of GloVe.

    Each line holds a word and D numbers, separated by single blanks or tabs. word2vec writes a line before them
    with the number of words and D, GloVe doesn't. A word may itself hold blanks, as some of GloVe's do. Of a word
    that stands there twice the first vector counts.

    Args:
        path: the file.
        wanted: keep only these words; by default all.

    Raises ValueError, with the number of the line, where a line doesn't hold D finite numbers, the first one
    promises another number of words than follow, or the file is missing, empty, damaged or not UTF-8.
    """
    kept = None if wanted is None else frozenset(wanted)
    vectors: dict[str, list[float]] = {}
    size, promised, found = 0, None, 0
    for number, line in _lines(path):
        fields = line.split(" ")
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            promised, size = map(int, fields)
            continue
        size = size or len(fields) - 1
        word, numbers = " ".join(fields[: len(fields) - size]), fields[len(fields) - size :]
        if not word or size < 1:
            raise ValueError(
                f"line {number} of {path} holds {len(fields) - 1} numbers after the word {fields[0]!r}, and should "
                f"hold {max(size, 1)}: correct the line, or copy the file again"
            )
        found += 1
        if (kept is None or word in kept) and word not in vectors:
            vectors[word] = _numbers(numbers, f"line {number} of {path}")
    if promised is not None and found != promised:
        raise ValueError(
            f"line 1 of {path} promises {promised} words, but {found} follow: correct it, or copy the file again"
        )
    if not found:
        raise ValueError(f"{path} holds no word vectors: each line must hold a word and its numbers")
    return WordVectors(tuple(vectors), np.array(list(vectors.values()), np.float32).reshape(-1, size))


def format_vectors(words: Sequence[str], matrix: Float32[np.ndarray, "N D"]) -> bytes:
    """Returns the content of a file in word2vec's text format, from which `read_vectors` gives the same numbers.

    Raises ValueError for a word that holds white space, at which other readers would divide it.
    """
    for word in words:
        if word.split() != [word]:
            raise ValueError(f"the word {word!r} holds white space, and this format divides words at it")
    row = " ".join(["%.9g"] * matrix.shape[1])
    lines = [f"{word} {row % tuple(vector)}" for word, vector in zip(words, matrix.tolist(), strict=True)]
    return "\n".join([f"{matrix.shape[0]} {matrix.shape[1]}", *lines, ""]).encode()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the lines that hold something, without line ends, with their numbers from 1."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}: name one that holds word vectors, plain or gzipped")
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    number = 0
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            for line in file:
                number += 1
                text = line.decode().rstrip(" \t\r\n").replace("\t", " ")
                if text:
                    yield number, text
    except UnicodeDecodeError:
        raise ValueError(
            f"line {number} of {path} is not UTF-8: if it is word2vec's binary format, save it as text"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ValueError(f"{path} is damaged: it begins as a gzip file, but can't be unpacked") from None


def _numbers(fields: Sequence[str], where: str) -> list[float]:
    values = []
    for field in fields:
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(
                f"{where} holds {field!r} where a finite number should stand: correct the line, or copy the file "
                "again"
            )
        values.append(value)
    return values
