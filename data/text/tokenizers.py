"""The units that a text is split into: characters, bytes, words, or pieces of words learned from it."""

import codecs
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32

from data.text.vocabulary import END, UNKNOWN, Vocabulary

Unit = Literal["character", "byte", "word", "bpe"]
Ids = Int32[np.ndarray, "T"]
Number = int | np.integer


@runtime_checkable
class Tokenizer(Protocol):
    """Text to numbers and back."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens that the numbers stand for."""
        ...

    def encode(self, text: str) -> Ids:
        """A text of whole lines; where lines have an end mark, each is ended by it."""
        ...

    def encode_prompt(self, text: str) -> Ids:
        """Whole lines and the beginning of another, which has no mark at its end."""
        ...

    def decode(self, ids: Iterable[Number]) -> str:
        """The text; a line's end mark becomes a line break."""
        ...

    def spelt(self, ids: Iterable[Number]) -> Iterator[str]:
        """Yields the text that each number adds as they come in, each in a time that doesn't grow: "" where it only
        begins a character."""
        ...

    def unknown(self, text: str) -> list[str]:
        """Returns what of a text the vocabulary doesn't hold, each once, in the text's order."""
        ...

    def left_out(self, text: str) -> list[str]:
        """Every word or character of a text that the vocabulary doesn't hold, as often as it stands there; a mark
        that stands in the text itself is a type, and held."""
        ...


@dataclass(frozen=True)
class Characters:
    """One token a character, line breaks among them; no end mark."""

    vocabulary: Vocabulary

    @classmethod
    def learn(cls, text: str, min_count: int, limit: int | None) -> "Characters":
        """Those of the training text."""
        return cls(Vocabulary.build(Counter(text), min_count=min_count, limit=limit))

    def encode(self, text: str) -> Ids:
        return self.vocabulary.encode(text)

    encode_prompt = encode

    def decode(self, ids: Iterable[Number]) -> str:
        return "".join(self.spelt(ids))

    def spelt(self, ids: Iterable[Number]) -> Iterator[str]:
        return (self.vocabulary.decode([number])[0] for number in ids)

    def unknown(self, text: str) -> list[str]:
        return list(dict.fromkeys(self.left_out(text)))

    def left_out(self, text: str) -> list[str]:
        known = set(self.vocabulary.types)
        return [c for c in text if c not in known]


@dataclass(frozen=True)
class Bytes:
    """One token a byte: 256 types, none of them unknown. A byte b is the type `chr(b)`."""

    vocabulary: Vocabulary

    @classmethod
    def learn(cls, content: bytes) -> "Bytes":
        """Nothing but how often each stands there."""
        counts = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
        return cls(Vocabulary(tuple(map(chr, range(256))), tuple(counts.tolist()), unknown=None))

    def encode(self, text: str) -> Ids:
        return self.encode_bytes(text.encode("utf-8"))

    encode_prompt = encode

    def encode_bytes(self, content: bytes) -> Ids:
        """Bytes that need not be text."""
        return np.frombuffer(content, np.uint8).astype(np.int32)

    def decode(self, ids: Iterable[Number]) -> str:
        return bytes(map(int, ids)).decode("utf-8", errors="replace")

    def spelt(self, ids: Iterable[Number]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return (decoder.decode(bytes([int(number)])) for number in ids)

    def unknown(self, text: str) -> list[str]:
        return []

    left_out = unknown


@dataclass(frozen=True)
class Words:
    """Words between white space, and a mark at the end of each line (an empty one too)."""

    vocabulary: Vocabulary

    @classmethod
    def learn(cls, text: str, min_count: int, limit: int | None) -> "Words":
        """Those of the training text."""
        counts = Counter(_words(lines_of(text)))
        return cls(Vocabulary.build(counts, min_count=min_count, limit=limit, end=END))

    def encode(self, text: str) -> Ids:
        return self.vocabulary.encode(_words(lines_of(text)))

    def encode_prompt(self, text: str) -> Ids:
        first, *others = text.split("\n")
        return self.vocabulary.encode(
            [*first.split(), *(word for line in others for word in (END, *line.split()))]
        )

    def decode(self, ids: Iterable[Number]) -> str:
        return "".join(self.spelt(ids))

    def spelt(self, ids: Iterable[Number]) -> Iterator[str]:
        apart = ""  # what stands before the next word
        for number in ids:
            (word,) = self.vocabulary.decode([number])
            yield "\n" if word == END else apart + word
            apart = "" if word == END else " "

    def unknown(self, text: str) -> list[str]:
        return list(dict.fromkeys(self.left_out(text)))

    def left_out(self, text: str) -> list[str]:
        known = set(self.vocabulary.types)
        return [word for word in text.split() if word not in known]


@dataclass(frozen=True)
class SentencePiece:
    """Pieces of words joined from the most frequent pairs, and a mark at the end of each line.

    Byte-pair encoding, Sennrich, Haddow & Birch 2016, as sentencepiece learns and applies it (Kudo & Richardson
    2018). `model` is its model file. Nothing is normalised: what is decoded is what was encoded, but for
    characters that the training text doesn't hold, and ▁ (U+2581), sentencepiece's own blank, which becomes one.
    """

    vocabulary: Vocabulary
    model: bytes

    @classmethod
    def learn(cls, text: str, size: int) -> "SentencePiece":
        """`size` types, the two marks among them, from the training text.

        Raises ValueError where the text can't fill so many, or has more characters than that.
        """
        if size < 3:
            raise ValueError(f"--data.bpe-size must be 3 or more, but is {size}")
        from sentencepiece import SentencePieceTrainer

        lines, model = lines_of(text), io.BytesIO()
        trainer: Any = SentencePieceTrainer
        try:
            trainer.train(
                sentence_iterator=iter([line for line in lines if line.strip()]),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                character_coverage=1.0,
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                max_sentence_length=10
                + max(len(line.encode()) for line in lines),  # longer ones it leaves out
                num_threads=1,
                unk_id=0,
                eos_id=1,
                bos_id=-1,
                pad_id=-1,
                unk_piece=UNKNOWN,
                unk_surface=f" {UNKNOWN} ",
                eos_piece=END,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise ValueError(
                f"--data.bpe-size {size} can't be had of this text: {_reason(str(error))}"
            ) from None
        blank = cls(Vocabulary((UNKNOWN, END), (0, 0), end=END), model.getvalue())
        types = [blank._processor.id_to_piece(number) for number in range(blank._processor.get_piece_size())]
        counts = np.bincount(blank.encode(text), minlength=len(types)).tolist()
        return cls(Vocabulary(tuple(types), tuple(counts), end=END), blank.model)

    @cached_property
    def _processor(self) -> Any:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=self.model)

    def encode(self, text: str) -> Ids:
        encoded = self._processor.encode(lines_of(text), add_eos=True)
        return np.fromiter((number for line in encoded for number in line), np.int32)

    def encode_prompt(self, text: str) -> Ids:
        first, *others = self._processor.encode(text.split("\n"))
        return np.array(
            [*first, *(number for line in others for number in (self.vocabulary.end_id, *line))], np.int32
        )

    def decode(self, ids: Iterable[Number]) -> str:
        lines: list[list[int]] = [[]]
        for number in map(int, ids):
            if number == self.vocabulary.end_id:
                lines.append([])
            else:
                lines[-1].append(number)
        return "\n".join(self._processor.decode(line) for line in lines)

    def spelt(self, ids: Iterable[Number]) -> Iterator[str]:
        before: list[Number] = []  # the last piece: whether a blank is shown depends on whether there is one
        for number in ids:
            yield self.decode([*before, number])[len(self.decode(before)) :]
            before = [number]

    def unknown(self, text: str) -> list[str]:
        return [c for c in dict.fromkeys(text) if self.vocabulary.unknown_id in self.encode_prompt(c)]

    def left_out(self, text: str) -> list[str]:
        missing = set(self.unknown(text))
        return [c for c in text if c in missing]


def lines_of(text: str) -> Sequence[str]:
    r"""Returns what stands between line breaks (\n alone: a form feed ends no line); the last break begins no new
    one."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _words(lines: Iterable[str]) -> Iterable[str]:
    return (word for line in lines for word in (*line.split(), END))


def _reason(message: str) -> str:
    most = re.search(r"<= ?(\d+)", message)
    if most:
        return f"it has {most[1]} at most; ask for fewer"
    least = re.search(r"required_chars[^\d]*.*?(\d+) vs (\d+)", message)
    return f"it has {least[2]} characters and marks already; ask for more" if least else message.strip()
