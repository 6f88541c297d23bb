"""Corpora of recordings with their texts: FSDD, LibriSpeech, Common Voice, and a CSV of files and texts."""

import csv
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data.speech.sound import Samples, decode_sound, resample
from data.text.files import SPLITS, read_file, split_of_name

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_FSDD = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")
_FSDD_TEST, _FSDD_VALID = range(5), range(5, 10)  # indices of recordings; the others are for training
_AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".opus")


class Recording(NamedTuple):
    """Sound and text of a speaker; `split` is empty where the corpus has none."""

    samples: Samples
    text: str
    speaker: str = ""
    name: str = ""
    split: str = ""


@dataclass(frozen=True)
class Entry:
    """A recording that is not read yet: where its text stands, for errors, and how its bytes are read."""

    name: str
    text: str
    speaker: str
    split: str
    where: str
    read: Callable[[], bytes]

    def recording(self, rate: int, alphabet: str, *, lowercase: bool) -> Recording:
        """Reads it, converted to a rate. Raises ValueError, one sentence with file and row, for sound that can't be
        read, an empty text, and a letter outside the alphabet."""
        text = " ".join(self.text.lower().split() if lowercase else self.text.split())
        if not text:
            raise ValueError(f"{self.where} has no text: write what is said")
        for letter in text:
            if letter not in alphabet:
                raise ValueError(
                    f"{self.where} has the letter {letter!r}, which is outside the alphabet: correct it, or add it "
                    "to --data.alphabet"
                )
        try:
            sound = decode_sound(self.read(), self.name)
        except ValueError as error:
            raise ValueError(str(error) if self.where == self.name else f"{self.where}: {error}") from None
        return Recording(resample(sound.samples, sound.rate, rate), text, self.speaker, self.name, self.split)


def find_entries(location: Path) -> tuple[list[Entry], bool]:
    """Finds the recordings of a CSV file or a folder, and tells whether each is a single word (FSDD).

    Raises ValueError if they are in none of the layouts that are known.
    """
    if location.is_file():
        if location.suffix.lower() != ".csv":
            raise ValueError(
                f"{location} must be a CSV file with the columns file and text, or a folder of recordings"
            )
        return list(csv_entries(location, "")), False
    if not location.is_dir():
        raise ValueError(f"there is no file or folder {location}: name one that holds recordings")
    fsdd = list(fsdd_entries(location))
    if fsdd:
        return fsdd, True
    transcripts = sorted(location.rglob("*.trans.txt"))
    if transcripts:
        return [entry for path in transcripts for entry in librispeech_entries(path, location)], False
    for ending, read in ((".tsv", common_voice_entries), (".csv", csv_entries)):
        tables = {split_of_name(path): path for path in sorted(location.glob(f"*{ending}"))}
        if "train" in tables:
            return [
                entry for split in SPLITS if split in tables for entry in read(tables[split], split)
            ], False
    raise ValueError(
        f"{location} holds no recordings in a layout that is known: give FSDD's files DIGIT_SPEAKER_NUMBER.wav, "
        "LibriSpeech's folders with .trans.txt, Common Voice's train.tsv beside clips, or train.csv with the "
        "columns file and text"
    )


def fsdd_entries(folder: Path) -> Iterator[Entry]:
    """Yields the recordings of FSDD, in a folder or packed by tar: digit, speaker and index stand in their names.
    Indices 0 … 4 are its test recordings, 5 … 9 are taken for validation."""
    for path in sorted(folder.rglob("*.wav")):
        if match := _FSDD.fullmatch(path.name):
            yield _fsdd_entry(match, str(path), path.read_bytes)
    for path in sorted([*folder.glob("*.tar.gz"), *folder.glob("*.tar")]):
        try:
            with tarfile.open(path, encoding="utf-8") as archive:
                members = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
                contents = {name: file.read() for name, file in members.items() if file is not None}
        except (tarfile.TarError, OSError, EOFError):
            raise ValueError(f"{path} is damaged: it can't be unpacked; copy it again") from None
        for name, content in sorted(contents.items()):
            if match := _FSDD.fullmatch(Path(name).name):
                yield _fsdd_entry(match, f"{path.name}/{name}", lambda content=content: content)


def _fsdd_entry(match: re.Match[str], name: str, read: Callable[[], bytes]) -> Entry:
    digit, speaker, index = match[1], match[2], int(match[3])
    split = "test" if index in _FSDD_TEST else "valid" if index in _FSDD_VALID else "train"
    return Entry(name, DIGITS[int(digit)], speaker, split, name, read)


def librispeech_entries(transcript: Path, root: Path) -> Iterator[Entry]:
    """Yields the recordings of a chapter: lines "SPEAKER-CHAPTER-NUMBER TEXT" beside files of that name. The split
    stands in the name of a folder above (train-clean-100, dev-clean)."""
    folders = transcript.relative_to(root.parent).parts[:-1]
    split = next((found for name in folders if (found := split_of_name(Path(name)))), "")
    for number, line in enumerate(read_file(transcript).text().splitlines(), 1):
        name, _, text = line.strip().partition(" ")
        if name:
            where = f"line {number} of {transcript}"
            path = _audio_of(transcript.parent / name)
            yield Entry(str(path), text, name.split("-")[0], split, where, _reader(path))


def common_voice_entries(table: Path, split: str) -> Iterator[Entry]:
    """Yields the rows of Common Voice's tables: columns client_id, path (in the folder clips) and sentence."""
    for where, row in _rows(table, "\t", ("path", "sentence")):
        path = _audio_of(table.parent / "clips" / row["path"])
        yield Entry(str(path), row["sentence"], row.get("client_id") or "", split, where, _reader(path))


def csv_entries(table: Path, split: str) -> Iterator[Entry]:
    """Yields the rows of a CSV with the columns file, relative to it, text and, if there is one, speaker."""
    for where, row in _rows(table, ",", ("file", "text")):
        path = table.parent / row["file"]
        yield Entry(str(path), row["text"], row.get("speaker") or "", split, where, _reader(path))


def _rows(table: Path, delimiter: str, needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields where each row of a table stands, and its entries by column. Raises ValueError for a missing column,
    and a row of another length."""
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.DictReader(io.StringIO(read_file(table).text()), delimiter=delimiter, quoting=quoting)
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"{table} has no column {' and none '.join(missing)}: name them in its first row")
    for row in reader:
        where = f"row {reader.line_num} of {table}"
        if None in row or None in row.values():
            raise ValueError(f"{where} doesn't have as many entries as the first one: correct it")
        yield where, row


def _audio_of(path: Path) -> Path:
    """Returns the file of that name that is there, WAV before others; the path itself if there is none."""
    names = [path.with_name(path.name + ending) for ending in _AUDIO]
    if path.suffix in _AUDIO:
        names = [path.with_suffix(".wav"), path]
    return next((found for found in names if found.is_file()), path)


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        if not path.is_file():
            raise ValueError(f"there is no file {path}: put it there, or take the row out")
        return path.read_bytes()

    return read
