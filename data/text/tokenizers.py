"""Tokenizers: characters, bytes, words, or subwords learned from the text."""

import codecs
import hashlib
import io
import json
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
    """Converts text to ids and back."""

    @property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the ids."""
        ...

    def encode(self, text: str) -> Ids:
        """Encodes whole lines, each followed by an end mark if the tokenizer has one."""
        ...

    def encode_prompt(self, text: str) -> Ids:
        """Encodes whole lines and an incomplete last one, without an end mark after it."""
        ...

    def decode(self, ids: Iterable[Number]) -> str:
        """Decodes ids to text; an end mark becomes a line break."""
        ...

    def decode_stream(self, ids: Iterable[Number]) -> Iterator[str]:
        """Yields the text that each id adds as it arrives, in constant time per id: "" for an incomplete
        character."""
        ...

    def unknown(self, text: str) -> list[str]:
        """Returns the words or characters of a text outside the vocabulary, each once, in the text's order."""
        ...

    def out_of_vocabulary(self, text: str) -> list[str]:
        """Returns every word or character of a text outside the vocabulary, with multiplicity; marks such as
        <unk> in the text are types of the vocabulary."""
        ...


@dataclass(frozen=True)
class Characters:
    """One token per character, line breaks included; no end mark."""

    vocabulary: Vocabulary

    @classmethod
    def learn(cls, text: str, min_count: int, limit: int | None) -> "Characters":
        """Collects the characters of the training text."""
        return cls(Vocabulary.build(Counter(text), min_count=min_count, limit=limit))

    def encode(self, text: str) -> Ids:
        return self.vocabulary.encode(text)

    encode_prompt = encode

    def decode(self, ids: Iterable[Number]) -> str:
        return "".join(self.decode_stream(ids))

    def decode_stream(self, ids: Iterable[Number]) -> Iterator[str]:
        return (self.vocabulary.decode([number])[0] for number in ids)

    def unknown(self, text: str) -> list[str]:
        return list(dict.fromkeys(self.out_of_vocabulary(text)))

    def out_of_vocabulary(self, text: str) -> list[str]:
        known = set(self.vocabulary.types)
        return [c for c in text if c not in known]


@dataclass(frozen=True)
class Bytes:
    """One token per byte: 256 types and no unknown ones. Byte b is the type `chr(b)`."""

    vocabulary: Vocabulary

    @classmethod
    def learn(cls, content: bytes) -> "Bytes":
        """Counts the bytes of the training text."""
        counts = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
        return cls(Vocabulary(tuple(map(chr, range(256))), tuple(counts.tolist()), unknown=None))

    def encode(self, text: str) -> Ids:
        return self.encode_bytes(text.encode("utf-8"))

    encode_prompt = encode

    def encode_bytes(self, content: bytes) -> Ids:
        """Encodes bytes that need not be text."""
        return np.frombuffer(content, np.uint8).astype(np.int32)

    def decode(self, ids: Iterable[Number]) -> str:
        return bytes(map(int, ids)).decode("utf-8", errors="replace")

    def decode_stream(self, ids: Iterable[Number]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return (decoder.decode(bytes([int(number)])) for number in ids)

    def unknown(self, text: str) -> list[str]:
        return []

    out_of_vocabulary = unknown


@dataclass(frozen=True)
class Words:
    """Words separated by white space, and an end mark after each line, empty ones too."""

    vocabulary: Vocabulary

    @classmethod
    def learn(cls, text: str, min_count: int, limit: int | None) -> "Words":
        """Collects the words of the training text."""
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
        return "".join(self.decode_stream(ids))

    def decode_stream(self, ids: Iterable[Number]) -> Iterator[str]:
        separator = ""  # before the next word
        for number in ids:
            (word,) = self.vocabulary.decode([number])
            yield "\n" if word == END else separator + word
            separator = "" if word == END else " "

    def unknown(self, text: str) -> list[str]:
        return list(dict.fromkeys(self.out_of_vocabulary(text)))

    def out_of_vocabulary(self, text: str) -> list[str]:
        known = set(self.vocabulary.types)
        return [word for word in text.split() if word not in known]


@dataclass(frozen=True)
class SentencePiece:
    """Subwords by byte-pair encoding, and an end mark after each line.

    Sennrich, Haddow & Birch 2016, as implemented by sentencepiece (Kudo & Richardson 2018), whose model file is
    `model`. Nothing is normalised: decoding inverts encoding, except for characters outside the training text, and
    for ▁ (U+2581), sentencepiece's own blank, which becomes one.
    """

    vocabulary: Vocabulary
    model: bytes

    @classmethod
    def learn(
        cls, text: str, size: int, *, at_most: bool = False, option: str = "--data.bpe-size"
    ) -> "SentencePiece":
        """Learns `size` types, including the two marks, from the training text; with `at_most`, fewer if it yields
        no more. Errors name the `option`.

        Raises ValueError if the text doesn't yield so many, or has more different characters.
        """
        if size < 3:
            raise ValueError(f"{option} must be 3 or more, but is {size}")
        from sentencepiece import SentencePieceTrainer

        lines, model = lines_of(text), io.BytesIO()
        trainer: Any = SentencePieceTrainer
        try:
            trainer.train(
                sentence_iterator=iter([line for line in lines if line.strip()]),
                model_writer=model,
                model_type="bpe",
                vocab_size=size,
                hard_vocab_limit=not at_most,
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
                f"{option} {size} doesn't fit this text: {_training_error(str(error))}"
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

    def decode_stream(self, ids: Iterable[Number]) -> Iterator[str]:
        before: list[Number] = []  # the last piece, which decides whether a blank is shown
        for number in ids:
            yield self.decode([*before, number])[len(self.decode(before)) :]
            before = [number]

    def unknown(self, text: str) -> list[str]:
        return [c for c in dict.fromkeys(text) if self.vocabulary.unknown_id in self.encode_prompt(c)]

    def out_of_vocabulary(self, text: str) -> list[str]:
        missing = set(self.unknown(text))
        return [c for c in text if c in missing]


def vocabulary_digest(*tokenizers: Tokenizer) -> str:
    """Returns sixteen hexadecimal digits of what each id stands for: the types in order, the marks, and the
    pieces."""
    digest = hashlib.sha256()
    for tokenizer in tokenizers:
        vocabulary = tokenizer.vocabulary
        content = [type(tokenizer).__name__, vocabulary.types, vocabulary.unknown, vocabulary.end]
        digest.update(json.dumps(content).encode() + getattr(tokenizer, "model", b""))
    return digest.hexdigest()[:16]


def lines_of(text: str) -> Sequence[str]:
    r"""Splits a text at line breaks (\n only, not form feeds); a final line break starts no new line."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _words(lines: Iterable[str]) -> Iterable[str]:
    return (word for line in lines for word in (*line.split(), END))


def _training_error(message: str) -> str:
    most = re.search(r"<= ?(\d+)", message)
    if most:
        return f"it yields {most[1]} types at most; ask for fewer"
    least = re.search(r"required_chars[^\d]*.*?(\d+) vs (\d+)", message)
    return (
        f"its characters and marks are {least[2]} types already; ask for more" if least else message.strip()
    )
