"""Text from local files, plain or gzipped: finding, reading and splitting them."""

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
# The words in a file's name that tell its split.
_SPLIT_NAMES = {"train": "train|training", "valid": "valid|validation|val|dev", "test": "test|testing"}
CONVERT = "convert it to UTF-8"
_NOT_TEXT = re.compile(r"readme|licen[cs]e|copying|notice", re.IGNORECASE)


@dataclass(frozen=True)
class TextFile:
    """A file that was read."""

    path: Path
    content: bytes  # unpacked
    checksum: str  # SHA-256 of the file, in hexadecimal digits

    def text(self, encoding: str | None = None, *, or_bytes: bool = False) -> str:
        """Decodes the file, without a byte order mark, and with \\n as the line ending.

        `encoding` is what --data.encoding says; None is UTF-8, where there is no such option. `or_bytes`: there is
        --data.unit byte.

        Raises ValueError, naming the first invalid byte and the likely encoding, if it is in another one.
        """
        try:
            text = self.content.decode(encoding or "utf-8")
        except UnicodeDecodeError as error:
            if encoding not in (None, "utf-8"):
                raise ValueError(
                    f"{self.path} is not {encoding}: its bytes at offset {error.start} stand for nothing: give "
                    "another --data.encoding"
                ) from None
            line = self.content.count(b"\n", 0, error.start) + 1
            bytes_too = ", or read its bytes with --data.unit byte" if or_bytes else ""
            raise ValueError(
                f"{self.path} is not UTF-8: byte 0x{self.content[error.start]:02x} at offset {error.start} (line "
                f"{line}): {likely_encoding(self.content, option=encoding is not None)}{bytes_too}"
            ) from None
        return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def likely_encoding(content: bytes, *, option: bool) -> str:
    """Names the likely encoding of bytes that are not UTF-8, and the mend: the option --data.encoding, or without
    it to convert the file.

    A byte order mark says UTF-16. If few bytes are above ASCII, the text is likely in a western language: in cp1252
    (Windows) if any byte is unassigned in ISO 8859-1 (latin-1), else in that.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return f"it begins as UTF-16 does: {'add --data.encoding utf-16' if option else CONVERT}"
    high = content.translate(None, bytes(range(0x80)))
    if len(high) > 0.2 * len(content):
        return "name its encoding with --data.encoding (gb18030, shift_jis, koi8-r …)" if option else CONVERT
    name = "latin-1"
    if any(0x80 <= byte < 0xA0 for byte in high):
        name = "cp1252"
    return f"it is likely {name}: {f'add --data.encoding {name}' if option else CONVERT}"


def read_file(path: Path) -> TextFile:
    """Reads a file of text by `read_bytes`. Raises ValueError too if it contains only white space."""
    found = read_bytes(path)
    if not found.content.removeprefix(codecs.BOM_UTF8).strip():
        raise ValueError(f"{path} is empty: give a file that holds text")
    return found


def read_bytes(path: Path) -> TextFile:
    """Reads a file and unpacks it if it is gzipped, by its first bytes and not by its name.

    Raises ValueError if it doesn't exist or is damaged.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: name one that exists, plain or gzipped")
    raw = path.read_bytes()
    content = raw
    if raw[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error):
            raise ValueError(f"{path} is damaged: it begins as a gzip file, but can't be unpacked") from None
    return TextFile(path, content, hashlib.sha256(raw).hexdigest())


def find_files(location: Path) -> dict[str, list[Path]]:
    """Finds files: `{"train": …, "valid": …, "test": …}`, or `{"": […]}` for files that have yet to be split.

    `location` is a file, or a folder, of which the files ending in .txt, .text or .tokens (or in these and .gz) are
    used, except for a README or licence. Their names tell their splits (train; valid, val, dev; test). If no name
    does, all are to be split, in the order of their names.

    Raises ValueError if there is no file, or if names are ambiguous.
    """
    if location.is_file():
        return {"": [location]}
    if not location.is_dir():
        raise ValueError(f"there is no file or folder {location}: name one that holds text with --data.dir")
    endings = (*_ENDINGS, *(f"{ending}.gz" for ending in _ENDINGS))
    found = sorted(
        path
        for path in location.iterdir()
        if path.name.endswith(endings) and path.is_file() and not _NOT_TEXT.match(path.name)
    )
    if not found:
        raise ValueError(
            f"{location} holds no text: put files there whose names end in {', '.join(_ENDINGS)}, or in .gz "
            "after it"
        )
    return group_by_split(location, found)


def group_by_split(location: Path, found: Sequence[Path]) -> dict[str, list[Path]]:
    """Groups files of a folder by the splits that their names tell, one each, or as yet to be split: see
    `find_files`, whose errors it raises for names."""
    split_of_path = {path: split_of_name(path) for path in found}
    if not any(split_of_path.values()):
        return {"": list(found)}
    for path, split in split_of_path.items():
        if split is None:
            raise ValueError(
                f"{path} is of none of the splits {', '.join(SPLITS)} by its name: rename it, or move it"
            )
    files: dict[str, list[Path]] = {}
    for split in SPLITS:
        of_split = [path for path, split_name in split_of_path.items() if split_name == split]
        if len(of_split) > 1:
            raise ValueError(
                f"{of_split[0]} and {of_split[1].name} are both {split} by their names: leave one"
            )
        if of_split:
            files[split] = of_split
    if "train" not in files:
        raise ValueError(f"{location} has a file for {' and '.join(files)}, but none for train: name one so")
    return files


def split_text(
    text: str | bytes, valid_share: float, test_share: float, *, at_lines: bool
) -> dict[str, str | bytes]:
    """Splits a text of n characters into consecutive parts: train, then `valid_share`, then `test_share` of it.

    The first part has ⌊(1 − valid_share − test_share) n⌋ characters, and so on; `at_lines` moves each boundary to
    the next end of a line (or of a word, in the last line). A fraction of 0 omits its split.

    Raises ValueError if a requested part would be empty.
    """
    size = len(text)
    # Rounded first: 10 · (1 − 0.1 − 0) must be 9 despite rounding errors.
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


def _next_break(text: str | bytes, position: int) -> int:
    """Returns the end of the line at `position`; of the word, if that line is the last."""
    if position in (0, len(text)):
        return position
    newline, space = ("\n", r"\s") if isinstance(text, str) else (b"\n", rb"\s")
    end = text.find(newline, position - 1)  # type: ignore[arg-type]
    if end >= 0 and end + 1 < len(text):
        return end + 1
    found = re.compile(space).search(text, position - 1)  # type: ignore[arg-type]
    return found.end() if found else len(text)


def longest_line(lines: Sequence[str]) -> tuple[int, int]:
    """Returns the number (from 1) and the length of the longest line."""
    index = max(range(len(lines)), key=lambda i: len(lines[i]))
    return index + 1, len(lines[index])


def split_of_name(path: Path) -> str | None:
    """Returns the split that the words of a file's name tell; None if none, or several."""
    words = re.split(r"[^a-z]+", path.name.lower())
    splits = [split for split, names in _SPLIT_NAMES.items() if set(names.split("|")) & set(words)]
    return splits[0] if len(splits) == 1 else None
