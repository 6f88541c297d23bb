"""Music as piano rolls: chorales from a JSON file, or four-part pieces made from a seed; written as MIDI."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.text.cache_folder import prepare_once
from data.text.files import SPLITS, read_file

LOWEST, PITCHES = 21, 88  # of a piano: A0 to C8, as MIDI numbers them
SILENCE = -1  # of a voice, in files that keep the voices apart
PIECES = {"train": 200, "valid": 40, "test": 40}  # that are made
Rolls = Mapping[str, Sequence[np.ndarray]]  # of each split the pieces, `[T, 88]` bool each

# --- pieces that are made
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)
# Of each degree of the scale those that follow it.
_FOLLOWS = {0: (3, 4, 5, 1), 1: (4, 4, 6), 3: (4, 0, 1), 4: (0, 0, 5), 5: (3, 1), 6: (0,)}
_RANGES = ((60, 79), (55, 72), (48, 67), (40, 60))  # soprano, alto, tenor, bass


@dataclass(frozen=True)
class MusicConfig:
    """The choice of pieces."""

    dir: Path | None = None
    """A JSON file {"train": …, "valid": …, "test": …}, or a folder that holds one such file: of each piece the
    steps, of each step the MIDI numbers of the notes that sound. Default: four-part pieces made from --seed."""
    cache: Path | None = None
    """Folder for the prepared pieces of --data.dir. Default: one in the user's cache."""


def load_music(config: MusicConfig, seed: int = 0) -> Rolls:
    """Returns the pieces of a config; those of a file are prepared once and then read from the cache, as
    `prepare_once` does.

    Raises ValueError for every fault of the file.
    """
    if config.dir is None:
        rng = np.random.default_rng(seed)
        return {split: [four_parts(rng) for _ in range(count)] for split, count in PIECES.items()}
    from data.tfds_arrays import read_arrays, write_arrays

    file = read_file(music_file(config.dir))

    def prepare() -> dict[str, list[dict[str, np.ndarray]]]:
        rolls = read_rolls(file.text(), file.path)
        return {split: [{"roll": roll} for roll in pieces] for split, pieces in rolls.items()}

    records = prepare_once(
        config.cache,
        name=file.path.name,
        options={},
        sources={file.path.name: file.checksum},
        prepare=prepare,
        write=write_arrays,
        read=read_arrays,
    )
    return {split: [record["roll"] for record in found] for split, found in records.items()}


def music_file(location: Path) -> Path:
    """Returns a JSON file, or the one in a folder. Raises ValueError if there is none, or several."""
    if location.is_file():
        return location
    found = sorted(location.glob("*.json")) if location.is_dir() else []
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(
            f"--data.dir {location} must be a JSON file or hold one, and has {names}: name the file"
        )
    return found[0]


def read_rolls(text: str, file: Path) -> dict[str, list[np.ndarray]]:
    """Reads pieces from JSON. Raises ValueError, naming the place, for anything else."""
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{file} isn't JSON: give a file of pieces") from None
    for split in SPLITS:
        if not isinstance(content, dict) or not isinstance(content.get(split), list) or not content[split]:
            raise ValueError(f"{file} has no list of pieces {split!r}: it must have train, valid and test")
    return {
        split: [
            read_roll(piece, f"piece {i} of {split} in {file}") for i, piece in enumerate(content[split], 1)
        ]
        for split in SPLITS
    }


def read_roll(piece: Any, where: str) -> np.ndarray:
    """Converts a list of steps, each a list of MIDI numbers, to a roll. Raises ValueError for anything else."""
    if not isinstance(piece, list) or len(piece) < 2 or not all(isinstance(step, list) for step in piece):
        raise ValueError(f"{where} must be a list of two or more steps, each a list of notes")
    roll = np.zeros((len(piece), PITCHES), bool)
    for number, step in enumerate(piece, 1):
        for note in step:
            if note == SILENCE:
                continue
            if isinstance(note, bool) or not isinstance(note, int) or not 0 <= note - LOWEST < PITCHES:
                raise ValueError(
                    f"step {number} of {where} has the note {note!r}: it must be a whole number from {LOWEST} to "
                    f"{LOWEST + PITCHES - 1}"
                )
            roll[number - 1, note - LOWEST] = True
    return roll


def four_parts(rng: np.random.Generator) -> np.ndarray:
    """Makes a piece of four voices in a random key, `[T, 88]` bool: three or four phrases of chords that follow one
    another as in a hymn and close on the tonic; each voice but the bass goes to the nearest note of the chord."""
    tonic, scale = int(rng.integers(12)), (_MAJOR, _MINOR)[int(rng.integers(2))]
    voices = [int(rng.integers(low + 4, high - 4)) for low, high in _RANGES]
    steps: list[list[int]] = []
    for _ in range(int(rng.integers(3, 5))):
        degrees = [0]
        while len(degrees) < 6:
            degrees.append(int(rng.choice(_FOLLOWS[degrees[-1]])))
        for degree in [*degrees, 4, 0]:
            chord = [(tonic + scale[(degree + third) % 7]) % 12 for third in (0, 2, 4)]
            voices = [*(_upper_voices(rng, voices[:3], chord)), _nearest(voices[3], chord[:1], _RANGES[3])]
            length = 2 if degree == 0 else int(rng.choice((1, 1, 2)))
            steps += [voices] * length
    roll = np.zeros((len(steps), PITCHES), bool)
    for step, notes in enumerate(steps):
        roll[step, np.array(notes) - LOWEST] = True
    return roll


def _upper_voices(rng: np.random.Generator, voices: Sequence[int], chord: Sequence[int]) -> list[int]:
    """Moves three voices to three different notes of the chord, as near as possible."""
    found, left = list(voices), list(chord)
    for i in rng.permutation(3).tolist():
        found[i] = _nearest(voices[i], left, _RANGES[i])
        left.remove(found[i] % 12)
    return found


def _nearest(note: int, classes: Sequence[int], bounds: tuple[int, int]) -> int:
    """Returns the nearest note of these pitch classes within bounds, the lower of two."""
    return min(
        (n for n in range(bounds[0], bounds[1] + 1) if n % 12 in classes), key=lambda n: (abs(n - note), n)
    )


def midi_bytes(roll: np.ndarray, *, steps_per_minute: int | float = 120) -> bytes:
    """Writes a roll `[T, 88]` as a MIDI file of one track: a note that sounds at several steps in a row is held."""
    import mido

    ticks = 480
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(steps_per_minute))])
    padded = np.concatenate(
        [np.zeros((1, roll.shape[1]), int), roll.astype(int), np.zeros((1, roll.shape[1]), int)]
    )
    last = 0
    for step, change in enumerate(np.diff(padded, axis=0)):
        for kind, sign in (("note_off", -1), ("note_on", 1)):  # a note ends before another begins
            for pitch in np.flatnonzero(change == sign).tolist():
                time = (step - last) * ticks
                track.append(mido.Message(kind, note=LOWEST + pitch, velocity=72, time=time))
                last = step
    file = mido.MidiFile(ticks_per_beat=ticks)
    file.tracks.append(track)
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()
