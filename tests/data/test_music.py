"""Pieces from files that the tests write, pieces that are made, and MIDI as another library reads it."""

import io
import json
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from data import MusicConfig, load_music, midi_bytes
from data.music import LOWEST

JSB = Path(__file__).resolve().parents[3] / "shared" / "data" / "jsb-chorales" / "jsb-chorales-quarter.json"
PIECES = {
    "train": [[[60, 64], [60], []], [[72], [21, 108]]],
    "valid": [[[60], [61]]],
    "test": [[[60, -1], [62]]],
}


def test_rolls_are_the_notes_of_the_file(tmp_path: Path) -> None:
    """Read, and read again from the cache; a folder with one file is that file."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "pieces.json").write_text(json.dumps(PIECES))
    for location in (tmp_path / "files", tmp_path / "files" / "pieces.json"):
        rolls = load_music(MusicConfig(location, cache=tmp_path / "kept"))
        for split, pieces in PIECES.items():
            notes = [[(np.flatnonzero(step) + LOWEST).tolist() for step in piece] for piece in rolls[split]]
            assert notes == [[sorted(n for n in step if n >= 0) for step in piece] for piece in pieces]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "isn't JSON"),
        ({"train": [], "valid": [], "test": []}, "has no list of pieces 'train'"),
        ([1], "has no list of pieces 'train'"),
        ({**PIECES, "valid": [[[60]]]}, "piece 1 of valid in .* must be a list of two or more steps"),
        ({**PIECES, "test": [[[60], [109]]]}, "step 2 of piece 1 of test in .* has the note 109: it must be"),
        ({**PIECES, "test": [[[60], ["C"]]]}, "has the note 'C': it must be a whole number from 21 to 108"),
    ],
)
def test_files_that_hold_no_pieces(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "pieces.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=said):
        load_music(MusicConfig(path, cache=tmp_path / "kept"))


def test_a_folder_of_several_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be a JSON file or hold one, and has none"):
        load_music(MusicConfig(tmp_path))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=r"has a\.json, b\.json: name the file"):
        load_music(MusicConfig(tmp_path))


def test_pieces_that_are_made() -> None:
    """Four voices or, where bass and tenor meet, three; the notes of a step are a chord of thirds in one scale; the
    same seed gives the same pieces."""
    rolls, again = load_music(MusicConfig(), seed=3), load_music(MusicConfig(), seed=3)
    other = load_music(MusicConfig(), seed=4)
    assert {split: len(pieces) for split, pieces in rolls.items()} == {"train": 200, "valid": 40, "test": 40}
    for piece, same, another in zip(rolls["test"], again["test"], other["test"], strict=True):
        np.testing.assert_array_equal(piece, same)
        assert piece.shape != another.shape or not np.array_equal(piece, another)
        assert set(piece.sum(axis=1).tolist()) <= {3, 4}
        classes = [frozenset(((np.flatnonzero(step) + LOWEST) % 12).tolist()) for step in piece]
        assert all(len(chord) == 3 for chord in classes)
        assert len(frozenset.union(*classes)) <= 7
        assert classes[-1] == classes[0]  # it closes on the tonic


def test_midi_is_what_mido_reads() -> None:
    """Notes with their beginnings and lengths, from a roll of random notes."""
    roll = np.random.default_rng(0).random((20, 88)) < 0.1
    file = mido.MidiFile(file=io.BytesIO(midi_bytes(roll, steps_per_minute=100)))
    assert abs(file.length - 20 * 0.6) < 0.6 + 1e-6  # the last note may end earlier
    found, sounding, now = np.zeros((20, 88), bool), {}, 0
    for message in mido.merge_tracks(file.tracks):
        now += message.time
        if message.type == "note_on":
            sounding[message.note] = now // file.ticks_per_beat
        elif message.type == "note_off":
            found[sounding.pop(message.note) : now // file.ticks_per_beat, message.note - LOWEST] = True
    assert not sounding
    np.testing.assert_array_equal(found, roll)


@pytest.mark.slow
def test_chorales(tmp_path: Path) -> None:
    """The counts of steps and of pieces that the data set states."""
    if not JSB.is_file():
        pytest.skip("needs the chorales in shared/data/jsb-chorales beside the checkout")
    rolls = load_music(MusicConfig(JSB, cache=tmp_path / "kept"))
    assert {split: (len(p), sum(map(len, p))) for split, p in rolls.items()} == {
        "train": (229, 13_807),
        "valid": (76, 4_602),
        "test": (77, 4_725),
    }
