"""Turns of plays and titles of abstracts: what is read, how it is split, what is refused."""

import zipfile
from pathlib import Path

import pytest

from data.pairs.titles import heading_pairs, title_pairs
from data.pairs.turns import BLOCK, Turn, made_turns, play_in, read_turns, turn_pairs
from data.text.pair_files import Pair


def test_turns_are_read_and_split_by_blocks() -> None:
    text = "A:\nWell,\nwell.\n\nSecond Man:\nNo: never.\n\nTITUS:\n\n"
    assert read_turns(text) == [Turn("A", "Well, well."), Turn("Second Man", "No: never.")]
    turns = [Turn("AB"[place % 2], f"turn {place}") for place in range(20 * BLOCK)]
    splits = turn_pairs(turns)
    said = {split: {word for pair in pairs for word in pair} for split, pairs in splits.items()}
    assert splits["train"][0] == Pair("A: turn 0", "turn 1")
    assert len(splits["valid"]) == len(splits["test"]) == 2 * (BLOCK - 1)
    numbers = {split: {words.split()[-1] for words in found} for split, found in said.items()}
    assert not numbers["train"] & numbers["test"]
    with pytest.raises(ValueError, match="has 5 turns of a dialogue, and 400 are needed"):
        turn_pairs(turns[:5])


def test_made_turns_answer_their_questions() -> None:
    pairs = made_turns(3, 200)
    assert len({source for source, _ in pairs}) == 200
    for source, target in pairs:
        asker = source.split(":")[0]
        assert f"{asker}," in target or target.endswith(f"{asker}.")
    with pytest.raises(ValueError, match="count is 0"):
        made_turns(0, 0)


def test_titles(tmp_path: Path) -> None:
    """The first line and its continuation, from an archive; a text without an abstract is refused."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("docsutf8/1.txt", "A long\r\n\ttitle\r\nThe text\r\n\tgoes on.\r\n")
        archive.writestr("docsutf8/2.txt", "Short\nAnother text.")
    assert title_pairs(tmp_path) == [
        Pair("The text goes on.", "A long title"),
        Pair("Another text.", "Short"),
    ]
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="holds no texts"):
        title_pairs(tmp_path / "b")
    (tmp_path / "b" / "3.txt").write_text("A title\n\tand no text", encoding="utf-8")
    with pytest.raises(ValueError, match=r"the text 3.txt has no title and abstract"):
        title_pairs(tmp_path / "b")
    with pytest.raises(ValueError, match=r"has 0 files that end in .txt, not one"):
        play_in(tmp_path)


def test_headings_stand_over_their_passages() -> None:
    pairs = heading_pairs()
    assert len(set(pairs)) == len(pairs) > 100
    assert any(pair.target == "Assignment statements" and "(re)bind" in pair.source for pair in pairs)
