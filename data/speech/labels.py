"""The labels that a recogniser writes: letters, whole words, or pieces of words. 0 is CTC's blank."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from data.text.tokenizers import Number, SentencePiece
from data.text.vocabulary import END, Vocabulary

LabelKind = Literal["letters", "words", "pieces"]


@dataclass(frozen=True)
class Labels:
    """Label i + 1 is `types[i]`, a letter or a word. Text of unknown ones can't be encoded."""

    types: tuple[str, ...]
    kind: LabelKind = "letters"

    @property
    def classes(self) -> int:
        """The number of labels and the blank, K."""
        return 1 + len(self.types)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.types, 1)}

    def encode(self, text: str) -> Int32[np.ndarray, " N"]:
        """Returns the ids of a text's labels. Raises ValueError for an unknown one."""
        parts = text.split() if self.kind == "words" else text
        for part in parts:
            if part not in self._numbers:
                raise ValueError(
                    f"{part!r} in {text!r} is none of the {self.kind} known from training: correct it"
                )
        return np.array([self._numbers[part] for part in parts], np.int32)

    def decode(self, ids: Iterable[Number]) -> str:
        """Returns the text of ids; blanks are of no account."""
        joint = " " if self.kind == "words" else ""
        return joint.join(self.types[int(number) - 1] for number in ids if number)


@dataclass(frozen=True)
class Pieces:
    """Pieces of words, by a sentencepiece model: label i + 1 is its type i."""

    model: SentencePiece
    kind: LabelKind = "pieces"

    @property
    def classes(self) -> int:
        """The number of labels and the blank, K."""
        return 1 + len(self.model.vocabulary.types)

    @property
    def types(self) -> tuple[str, ...]:
        """The pieces."""
        return self.model.vocabulary.types

    def encode(self, text: str) -> Int32[np.ndarray, " N"]:
        """Returns the ids of a text's pieces; of blanks alone none, as each word begins with its own."""
        return (self.model.encode_prompt(text) if text.strip() else np.zeros(0, np.int32)) + np.int32(1)

    def decode(self, ids: Iterable[Number]) -> str:
        """Returns the text of ids; blanks are of no account."""
        return self.model.decode([int(number) - 1 for number in ids if number]).strip()


AnyLabels = Labels | Pieces


def learn_labels(kind: LabelKind, texts: Sequence[str], alphabet: str, pieces: int) -> AnyLabels:
    """Returns the labels for the texts of training: the letters of the alphabet that they have, their words, or at
    most so many pieces. Raises ValueError as `SentencePiece.learn`."""
    if kind == "letters":
        used = {letter for text in texts for letter in text}
        return Labels(tuple(letter for letter in alphabet if letter in used))
    if kind == "words":
        return Labels(tuple(sorted({word for text in texts for word in text.split()})), "words")
    learned = SentencePiece.learn("\n".join(texts) + "\n", pieces, at_most=True, option="--pieces")
    return Pieces(learned)


def labels_as_text(labels: AnyLabels) -> dict[str, object]:
    """Returns labels as JSON holds them, for `labels_from_text`."""
    if isinstance(labels, Pieces):
        counts = list(labels.model.vocabulary.counts)
        return {
            "kind": "pieces",
            "types": list(labels.types),
            "counts": counts,
            "model": labels.model.model.hex(),
        }
    return {"kind": labels.kind, "types": list(labels.types)}


def labels_digest(labels: AnyLabels) -> str:
    """Returns sixteen hexadecimal digits of labels."""
    return hashlib.sha256(json.dumps(labels_as_text(labels)).encode()).hexdigest()[:16]


def labels_from_text(stored: dict[str, object]) -> AnyLabels:
    """Reads labels that `labels_as_text` wrote."""
    held: Any = stored
    if held["kind"] != "pieces":
        return Labels(tuple(held["types"]), held["kind"])
    vocabulary = Vocabulary(tuple(held["types"]), tuple(held["counts"]), end=END)
    return Pieces(SentencePiece(vocabulary, bytes.fromhex(held["model"])))
