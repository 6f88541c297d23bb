"""A corpus of recordings: read and converted once, then from the cache; split, with bad recordings left out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.position import random_order
from data.speech.recordings import Entry, Recording, find_entries
from data.synthetic.keypad import KEYPAD_RATE, keypad_tones
from data.text.cache_folder import Written, prepare_once
from data.text.files import SPLITS

LETTERS = "abcdefghijklmnopqrstuvwxyz' "
TONES = {"train": 200, "valid": 40, "test": 40}  # of each digit
_STREAM = 5  # of random numbers, beside those that split texts


@dataclass(frozen=True)
class SpeechConfig:
    """The choice of recordings."""

    dir: Path | None = None
    """A folder in the layout of FSDD, LibriSpeech or Common Voice, or with train.csv (columns file and text); or
    one CSV file. Default: the tones of a telephone's keypad, made from --data.seed."""
    left_out: str | None = None
    """The speaker who is left out of training, and tested on alone."""
    alphabet: str | None = None
    """The letters that a text may have, the blank between words among them. Default: those of English, the
    apostrophe and the blank."""
    lowercase: bool = True
    """Read texts in small letters."""
    skip_bad: int = 0
    """Leave out at most so many recordings that can't be used, and list them."""
    held_out_share: float = 0.1
    """Fraction of the recordings for validation, and for test, where the corpus has no splits."""
    seed: int = 0
    """Seed of the tones that are made, and of the recordings held out."""
    cache: Path | None = None
    """Folder for the prepared recordings of --data.dir. Default: one in the user's cache."""

    def __post_init__(self) -> None:
        if self.skip_bad < 0:
            raise ValueError(f"data.skip_bad is {self.skip_bad}: give 0 or more")
        if not 0 < self.held_out_share < 0.5:
            raise ValueError(
                f"data.held_out_share is {self.held_out_share}: it must lie between 0 and a half"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"data.seed is {self.seed}: it must lie in 0 … 2**32 - 1")
        if len(set(self.letters)) < max(len(self.letters), 1):
            raise ValueError(f"data.alphabet is {self.alphabet!r}: give letters, each once")

    @property
    def letters(self) -> str:
        """Returns the letters that a text may have."""
        return LETTERS if self.alphabet is None else self.alphabet


class Speech(NamedTuple):
    """Recordings by split: train, valid and test. `words` tells that each is a single word, to be joined to
    utterances; `origin` is a checksum by the name of each file, or one of all."""

    splits: Mapping[str, Sequence[Recording]]
    rate: int
    words: bool
    separator: str
    origin: Mapping[str, str]

    def summary(self) -> str:
        """Describes the recordings, a line for each split."""
        lines = [f"recordings: {', '.join(self.origin)}; {self.rate:,} samples a second"]
        for name, found in self.splits.items():
            seconds = sum(len(recording.samples) for recording in found) / self.rate
            speakers = len({recording.speaker for recording in found})
            lines.append(
                f"  {name:<6}{len(found):>8,} recordings, {seconds / 60:.1f} minutes, {speakers} speakers"
            )
        return "\n".join(lines)


def check_bad(sentences: Sequence[str], limit: int) -> None:
    """Raises ValueError if recordings that can't be used, of each of which a sentence tells, are more than
    `limit`."""
    if len(sentences) > limit:
        more = f" ({len(sentences)} recordings can't be used; --data.skip-bad leaves out so many)"
        raise ValueError(f"{sentences[0]}{more if len(sentences) > 1 else ', or add --data.skip-bad 1'}")


def load_speech(config: SpeechConfig, rate: int = KEYPAD_RATE) -> Speech:
    """Returns the recordings of a config, those of files prepared once and then read from the cache as
    `prepare_once` does.

    Raises ValueError for every fault of the files, if more recordings than `skip_bad` can't be used, if there is no
    speaker of that name, and if a split is empty.
    """
    if config.dir is None:
        if config.left_out is not None:
            raise ValueError(
                f"--data.left-out {config.left_out} is for recordings of speakers: give their --data.dir"
            )
        made = {
            split: keypad_tones(config.seed * 3 + place, count, rate)
            for place, (split, count) in enumerate(TONES.items())
        }
        return Speech(made, rate, True, "", {f"keypad tones made from seed {config.seed}": ""})
    entries, words = find_entries(config.dir)
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.name}\0{entry.text}\0{entry.split}\0".encode())
        digest.update(_content(entry))
    origin = {config.dir.resolve().name: digest.hexdigest()}
    options = {"rate": rate, "alphabet": config.letters, "lowercase": config.lowercase}

    def prepare() -> tuple[list[Recording], list[str]]:
        good, bad = [], []
        for entry in entries:
            try:
                good.append(entry.recording(rate, config.letters, lowercase=config.lowercase))
            except ValueError as error:
                bad.append(str(error))
        check_bad(bad, config.skip_bad)
        return good, bad

    found, bad = prepare_once(
        config.cache,
        name=config.dir.resolve().name,
        options=options,
        sources=origin,
        prepare=prepare,
        write=_write,
        read=_read,
    )
    check_bad(bad, config.skip_bad)
    for sentence in bad:
        print(f"left out: {sentence}", flush=True)
    splits = _without_speaker(split_recordings(found, config), config.left_out)
    for split, recordings in splits.items():
        if not recordings:
            raise ValueError(f"{config.dir} has no recording for {split}: give more")
    return Speech(splits, rate, words, " ", origin)


def _content(entry: Entry) -> bytes:
    """Reads an entry for the checksum; nothing of one that isn't there, which is said later."""
    try:
        return hashlib.sha256(entry.read()).digest()
    except ValueError:
        return b""


def split_recordings(found: Sequence[Recording], config: SpeechConfig) -> dict[str, list[Recording]]:
    """Returns the recordings by split; where the corpus has none for validation or test, a share of those for
    training, drawn at random."""
    parts = {split: [one for one in found if (one.split or "train") == split] for split in SPLITS}
    for stream, split in enumerate(("valid", "test")):
        if not parts[split]:
            train = parts["train"]
            order = random_order(len(train), config.seed, stream=_STREAM + stream)
            chosen = set(order[: max(1, round(config.held_out_share * len(train)))].tolist())
            parts[split] = [one for place, one in enumerate(train) if place in chosen]
            parts["train"] = [one for place, one in enumerate(train) if place not in chosen]
    return parts


def _without_speaker(parts: dict[str, list[Recording]], speaker: str | None) -> dict[str, list[Recording]]:
    """Leaves a speaker out of training and validation, and all others out of the test."""
    if speaker is None:
        return parts
    own = [one for found in parts.values() for one in found if one.speaker == speaker]
    if not own:
        names = sorted({one.speaker for found in parts.values() for one in found})
        raise ValueError(f"--data.left-out {speaker} is none of the speakers: there are {', '.join(names)}")
    others = {split: [one for one in parts[split] if one.speaker != speaker] for split in ("train", "valid")}
    return {**others, "test": own}


def _write(folder: Path, found: tuple[list[Recording], list[str]]) -> Written:
    from data.tfds_arrays import write_arrays

    recordings, bad = found
    records = [
        {"samples": one.samples}
        | {name: np.frombuffer(getattr(one, name).encode(), np.uint8) for name in Recording._fields[1:]}
        for one in recordings
    ]
    files, details = write_arrays(folder, {"recordings": records})
    return files, {**details, "bad": bad}


def _read(folder: Path, details: dict[str, Any]) -> tuple[list[Recording], list[str]]:
    from data.tfds_arrays import read_arrays

    records = read_arrays(folder, details)["recordings"]
    return [
        Recording(
            np.asarray(record["samples"], np.float32),
            *(record[name].tobytes().decode() for name in Recording._fields[1:]),
        )
        for record in records
    ], list(details["bad"])
