"""Words as rows of ids: what is known, what is unknown, what is cut; and back from a file."""

from pathlib import Path

import numpy as np
import pytest

from data import TokenEncoder, WordEncoder, load_encoder
from data.text.tokenizers import SentencePiece, Tokenizer, Words

SENTENCES = [["I", "saw", "a", "saw", "in", "1993"], ["Saw", "3", "cats"]]
TEXT = "the cat saw the dog\nthe dog saw a cat\n" * 4


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
        TokenEncoder(Words.learn(TEXT, 1, None), marks=3, framed=True),
        TokenEncoder(SentencePiece.learn(TEXT, 30)),
    ):
        path = tmp_path / "words.json"
        path.write_bytes(encoder.to_json())
        assert load_encoder(path) == encoder
    for content in (
        "{",
        '{"vocabulary": null}',
        '{"vocabulary": 1, "alphabet": 1, "lowercase": 1, "longest": 1}',
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=r"words.json is damaged"):
            load_encoder(path)
    with pytest.raises(ValueError, match="there are no words"):
        load_encoder(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("tokenizer", "tokens"), [(Words.learn(TEXT, 2, None), 4), (SentencePiece.learn(TEXT, 30), 7)]
)
def test_tokens_of_another_text(tokenizer: Tokenizer, tokens: int) -> None:
    """The tokens of the words joined by blanks, between the first two ids beyond the vocabulary; where each word
    ends; the share of unknown ones."""
    words = ["the", "cat", "saw", "zoo"]
    encoder = TokenEncoder(tokenizer, marks=3, framed=True)
    types = len(tokenizer.vocabulary)
    rows = encoder.encode(words)
    assert rows.shape == (len(encoder.shown(words)), 1)
    assert encoder.ids == types + 3
    assert (rows[0, 0], rows[-1, 0]) == (types, types + 1)
    bare = TokenEncoder(tokenizer, marks=3)
    assert np.array_equal(bare.encode(words), rows[1:-1])
    assert rows[1:-1, 0].tolist() == tokenizer.encode_prompt(" ".join(words)).tolist()
    assert len(rows) == tokens + 2
    ends = [encoder.row_of(words, place) for place in range(4)]
    assert [len(bare.encode(words[: n + 1])) for n in range(4)] == ends
    unknown = [token == 0 for token in rows[1:-1, 0].tolist()]
    assert encoder.unknown_share([words]) == sum(unknown) / len(unknown)
    assert bare.encode(["no cat"]).shape[0] == (
        1 if encoder.of_words else len(tokenizer.encode_prompt("no cat"))
    )


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="longest-word"):
        WordEncoder.build(SENTENCES, longest=0)
    assert np.array_equal(WordEncoder.build(SENTENCES).encode([]), np.zeros((0, 21), np.int32))
