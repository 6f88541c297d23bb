"""Text from local files, plain or gzipped: which files there are, what is in them, and how they are cut."""

import codecs
import gzip
import hashlib
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "valid", "test")
_ENDINGS = (".txt", ".text", ".tokens")
# What a file is called of which split it is: the whole word, somewhere in its name.
_CALLED = {"train": "train|training", "valid": "valid|validation|val|dev", "test": "test|testing"}
_NO_TEXT = re.compile(r"readme|licen[cs]e|copying|notice", re.IGNORECASE)


@dataclass(frozen=True)
class TextFile:
    """A file as it was found."""

    path: Path
    content: bytes  # unpacked
    checksum: str  # SHA-256 of the file, in hexadecimal digits

    def text(self, encoding: str = "utf-8") -> str:
        """Its characters, a byte order mark taken away, lines ended by \\n alone.

        Raises ValueError, naming the first byte at fault and the likely encoding, where it is in another.
        """
        try:
            text = self.content.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding != "utf-8":
                raise ValueError(
                    f"{self.path} is not {encoding}: its bytes at offset {error.start} stand for nothing: give "
                    "another --data.encoding"
                ) from None
            line = self.content.count(b"\n", 0, error.start) + 1
            raise ValueError(
                f"{self.path} is not UTF-8: byte 0x{self.content[error.start]:02x} at offset {error.start} (line "
                f"{line}): {likely_encoding(self.content)}, or read its bytes with --data.unit byte"
            ) from None
        return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def likely_encoding(content: bytes) -> str:
    """Names the likely encoding of bytes that are not UTF-8.

    A byte order mark says UTF-16. Where few bytes are above ASCII the text is likely of a western language: in
    cp1252 (Windows), if any is one that ISO 8859-1 (latin-1) has no character for, else in that.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it begins as UTF-16 does: add --data.encoding utf-16"
    high = content.translate(None, bytes(range(0x80)))
    if len(high) > 0.2 * len(content):
        return "name its encoding with --data.encoding (gb18030, shift_jis, koi8-r …)"
    name = "latin-1"
    if any(0x80 <= byte < 0xA0 for byte in high):
        name = "cp1252"
    return f"it is likely {name}: add --data.encoding {name}"


def read_file(path: Path) -> TextFile:
    """A file, unpacked where it is gzipped (told by its first bytes, not by its name).

    Raises ValueError where it isn't there, is empty or holds nothing but white space, or is damaged.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: name one that holds text, plain or gzipped")
    raw = path.read_bytes()
    content = raw
    if raw[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error):
            raise ValueError(f"{path} is damaged: it begins as a gzip file, but can't be unpacked") from None
    if not content.removeprefix(codecs.BOM_UTF8).strip():
        raise ValueError(f"{path} is empty: give a file that holds text")
    return TextFile(path, content, hashlib.sha256(raw).hexdigest())


def find_files(place: Path) -> dict[str, list[Path]]:
    """The files at a place: `{"train": …, "valid": …, "test": …}`, or `{"": […]}` for those that are to be cut.

    A file stands for itself. Of a folder those ending in .txt, .text or .tokens count (also with .gz after it), but
    no README or licence; they are of the split that their names say (train; valid, val, dev; test). Where no name
    says one, all are to be cut, in the order of their names.

    Raises ValueError where there is nothing, or names leave open what a file is for.
    """
    if place.is_file():
        return {"": [place]}
    if not place.is_dir():
        raise ValueError(f"there is no file or folder {place}: name one that holds text with --data.dir")
    endings = (*_ENDINGS, *(f"{ending}.gz" for ending in _ENDINGS))
    found = sorted(
        path
        for path in place.iterdir()
        if path.name.endswith(endings) and path.is_file() and not _NO_TEXT.match(path.name)
    )
    if not found:
        raise ValueError(
            f"{place} holds no text: put files there whose names end in {', '.join(_ENDINGS)}, or in .gz after it"
        )
    called = {path: _split_of(path) for path in found}
    if not any(called.values()):
        return {"": found}
    for path, split in called.items():
        if split is None:
            raise ValueError(
                f"{path} is of none of the splits {', '.join(SPLITS)} by its name: rename it, or move it"
            )
    files: dict[str, list[Path]] = {}
    for split in SPLITS:
        of_split = [path for path, its in called.items() if its == split]
        if len(of_split) > 1:
            raise ValueError(
                f"{of_split[0]} and {of_split[1].name} are both {split} by their names: leave one"
            )
        if of_split:
            files[split] = of_split
    if "train" not in files:
        raise ValueError(f"{place} has a file for {' and '.join(files)}, but none for train: name one so")
    return files


def cut(
    text: str | bytes, valid_share: float, test_share: float, *, at_lines: bool
) -> dict[str, str | bytes]:
    """Consecutive parts of a text of n characters: the last `test_share` of it, `valid_share` before it, the rest.

    The first part has ⌊(1 − valid_share − test_share) n⌋ characters, and so on; `at_lines` moves each cut on to the
    next end of a line (or, in a last line, of a word), so that none is torn. A share of 0 leaves its split out.

    Raises ValueError where a part that is asked for would hold nothing.
    """
    size = len(text)
    # Rounded first: 1 − 0.1 − 0 times ten must be nine, whatever the last bit says.
    ends = [math.floor(round(size * share, 6)) for share in (1 - valid_share - test_share, 1 - test_share)]
    if at_lines:
        ends = [_next_break(text, end) for end in ends]
    parts: dict[str, str | bytes] = {}
    for split, start, end, share in zip(
        SPLITS, (0, *ends), (*ends, size), (1.0, valid_share, test_share), strict=True
    ):
        if share == 0:
            continue
        parts[split] = text[start:end]
        if not parts[split].strip():
            raise ValueError(
                f"the text of {size:,} characters is too short to be cut: nothing is left for {split}; "
                "give more, or other shares"
            )
    return parts


def _next_break(text: str | bytes, place: int) -> int:
    """Behind the end of the line that `place` is in; of the word, where the text ends first."""
    if place in (0, len(text)):
        return place
    newline, space = ("\n", r"\s") if isinstance(text, str) else (b"\n", rb"\s")
    end = text.find(newline, place - 1)  # type: ignore[arg-type]
    if end >= 0 and end + 1 < len(text):
        return end + 1
    found = re.compile(space).search(text, place - 1)  # type: ignore[arg-type]
    return found.end() if found else len(text)


def longest_line(lines: Sequence[str]) -> tuple[int, int]:
    """Number (from 1) and characters of the longest line."""
    place = max(range(len(lines)), key=lambda i: len(lines[i]))
    return place + 1, len(lines[place])


def _split_of(path: Path) -> str | None:
    words = re.split(r"[^a-z]+", path.name.lower())
    splits = [split for split, called in _CALLED.items() if set(called.split("|")) & set(words)]
    return splits[0] if len(splits) == 1 else None
