"""Vocabularies: the types of a text and their ids."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32

UNKNOWN, END = "<unk>", "<eos>"


@dataclass(frozen=True)
class Vocabulary:
    """V types with ids 0 … V − 1.

    `unknown` is the mark for types outside the vocabulary, `end` that for the end of a line; None if there is no
    such mark. Both are types themselves. `counts [V]` are the occurrences in the training text (for `unknown`
    those of all types left out), as a tuple, so that a vocabulary is hashable.

    Examples:
        >>> vocabulary = Vocabulary.build({"the": 3, "cat": 2, "sat": 1}, min_count=2)
        >>> vocabulary.types, vocabulary.counts
        (('<unk>', 'the', 'cat'), (1, 3, 2))
    """

    types: tuple[str, ...]
    counts: tuple[int, ...]
    unknown: str | None = UNKNOWN
    end: str | None = None

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.types) or len(self._numbers) != len(self.types):
            raise ValueError(
                f"a vocabulary of {len(self.types)} types ({len(self._numbers)} different ones) with "
                f"{len(self.counts)} counts: each type must occur once, with its count"
            )
        for name, mark in (("unknown", self.unknown), ("end", self.end)):
            if mark is not None and mark not in self._numbers:
                raise ValueError(f"the mark {name}, {mark!r}, is not among the types: add it")

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        *,
        min_count: int = 1,
        limit: int | None = None,
        unknown: str | None = UNKNOWN,
        end: str | None = None,
    ) -> "Vocabulary":
        """Builds a vocabulary: the marks, then every type counted at least `min_count` times, most frequent first,
        ties in the order of their characters, at most `limit` besides the marks.

        A type spelt like a mark is that mark: PTB's own `<unk>` counts as unknown.

        Raises ValueError for a `min_count` or `limit` below 1, if no type is left, or if types are left out and
        there is no mark for them.
        """
        if min_count < 1:
            raise ValueError(f"--data.min-count must be 1 or more, but is {min_count}")
        if limit is not None and limit < 1:
            raise ValueError(
                f"--data.vocabulary-limit must be 1 or more, but is {limit}: leave it out for no limit"
            )
        marks = [mark for mark in (unknown, end) if mark is not None]
        by_frequency = sorted((t for t in counts if t not in marks), key=lambda t: (-counts[t], t))
        kept = [t for t in by_frequency if counts[t] >= min_count][:limit]
        if not kept:
            raise ValueError(
                f"no type occurs {min_count} times or more in the training text: lower "
                "--data.min-count or give more text"
            )
        if len(kept) < len(by_frequency) and unknown is None:
            raise ValueError(
                f"{len(by_frequency) - len(kept)} types are left out, but there is no mark for them: "
                "give `unknown`, or keep all types"
            )
        rare_count = sum(counts[t] for t in by_frequency) - sum(counts[t] for t in kept)
        frequency = {mark: counts.get(mark, 0) for mark in marks} | {t: counts[t] for t in kept}
        if unknown is not None:
            frequency[unknown] += rare_count
        return cls(tuple(frequency), tuple(frequency.values()), unknown, end)

    def __len__(self) -> int:
        return len(self.types)

    def __contains__(self, item: object) -> bool:
        return item in self._numbers

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {t: number for number, t in enumerate(self.types)}

    @property
    def unknown_id(self) -> int | None:
        """The id of the mark for unknown types."""
        return None if self.unknown is None else self._numbers[self.unknown]

    @property
    def end_id(self) -> int | None:
        """The id of the end mark."""
        return None if self.end is None else self._numbers[self.end]

    def encode(self, tokens: Iterable[str]) -> Int32[np.ndarray, "T"]:
        """Returns the id of each token. Raises ValueError for an unknown one if there is no mark for it."""
        numbers = self._numbers
        unknown = self.unknown_id
        if unknown is not None:
            return np.fromiter((numbers.get(token, unknown) for token in tokens), np.int32)
        try:
            return np.fromiter((numbers[token] for token in tokens), np.int32)
        except KeyError as missing:
            raise ValueError(
                f"{missing.args[0]!r} is not in the vocabulary, which has no mark for unknown types"
            ) from None

    def decode(self, ids: Iterable[int | np.integer]) -> list[str]:
        """Returns the type of each id. Raises ValueError for an id outside 0 … V − 1."""
        numbers = [int(number) for number in ids]
        outside = [number for number in numbers if not 0 <= number < len(self)]
        if outside:
            raise ValueError(f"{outside[0]} is not an id of this vocabulary, which has 0 … {len(self) - 1}")
        return [self.types[number] for number in numbers]

    def one_hot(self, ids: Int[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape V"]:
        """Returns one-hot vectors; the entry of the unknown mark is the class "other"."""
        self.decode(np.unique(ids))
        return np.eye(len(self), dtype=np.float32)[ids]

    def bag_of_words(
        self, documents: Sequence[Int[np.ndarray, "_"]], *, binary: bool = False
    ) -> Float32[np.ndarray, "B V"]:
        """Counts how often each type occurs in each of B documents; with `binary`, 1 if it occurs at all."""
        bags = np.zeros((len(documents), len(self)), np.float32)
        for bag, document in zip(bags, documents, strict=True):
            self.decode(np.unique(document))
            bag += np.bincount(document, minlength=len(self))
        return np.minimum(bags, 1) if binary else bags

    def to_json(self) -> bytes:
        """Returns the content of a file that `load` reads."""
        content = {"types": self.types, "counts": self.counts, "unknown": self.unknown, "end": self.end}
        return (json.dumps(content, ensure_ascii=False) + "\n").encode()

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Reads a file written from `to_json`. Raises ValueError if it doesn't exist or is damaged."""
        if not path.is_file():
            raise ValueError(f"there is no vocabulary {path}: name a file written by a run or in a cache")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            content = None
        return cls.from_json(content, path)

    @classmethod
    def from_json(cls, content: Any, path: Path) -> "Vocabulary":
        """Builds what `to_json` wrote, parsed. Raises ValueError, naming the file, if it is damaged."""
        try:
            types, counts = tuple(content["types"]), tuple(content["counts"])
            unknown, end = content["unknown"], content["end"]
            if not all(isinstance(t, str) for t in types) or not all(isinstance(n, int) for n in counts):
                raise TypeError
        except (KeyError, TypeError):
            raise ValueError(f"{path} is damaged: it is not a vocabulary") from None
        return cls(types, counts, unknown, end)
