"""Words as rows of ids: what is known, what is unknown, what is cut; and back from a file."""

from pathlib import Path

import numpy as np
import pytest

from data import WordEncoder

SENTENCES = [["I", "saw", "a", "saw", "in", "1993"], ["Saw", "3", "cats"]]


def test_rows_hold_the_word_and_its_characters() -> None:
    encoder = WordEncoder.build(SENTENCES, longest=4)
    words, letters = encoder.vocabulary.types, encoder.alphabet
    assert letters is not None
    rows = encoder.encode(["SAW", "1887", "cats", "ascii", "zoo"])
    assert rows.shape == (5, encoder.columns) == (5, 5)
    assert [words[i] for i in rows[:, 0]] == ["saw", "0000", "cats", "<unk>", "<unk>"]
    assert letters.decode(rows[3, 1:]) == list("asci")  # cut
    assert letters.decode(rows[0, 1:4]) == ["S", "<unk>", "<unk>"]  # as written
    assert rows[0, 4] == 0
    assert rows[4, 1:].tolist() == [1, 1, 1, 0]


def test_case_and_rare_words() -> None:
    encoder = WordEncoder.build(SENTENCES, characters=False, lowercase=False, min_count=2)
    assert encoder.encode(["saw", "Saw", "SAW", "cats"])[:, 0].tolist() == [1, 0, 0, 0]
    assert encoder.columns == 1


def test_file_and_back(tmp_path: Path) -> None:
    for encoder in (
        WordEncoder.build(SENTENCES),
        WordEncoder.build(SENTENCES, characters=False, min_count=2),
    ):
        path = tmp_path / "words.json"
        path.write_bytes(encoder.to_json())
        assert WordEncoder.load(path) == encoder
    for content in (
        "{",
        '{"vocabulary": null}',
        '{"vocabulary": 1, "alphabet": 1, "lowercase": 1, "longest": 1}',
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"words.json is damaged"):
            WordEncoder.load(path)
    with pytest.raises(ValueError, match="there are no words"):
        WordEncoder.load(tmp_path / "none.json")


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="longest-word"):
        WordEncoder.build(SENTENCES, longest=0)
    assert np.array_equal(WordEncoder.build(SENTENCES).encode([]), np.zeros((0, 21), np.int32))
