"""Running text for word vectors: sentences, words, phrases, the cache; similarity sets and analogies."""

from pathlib import Path

import numpy as np
import pytest

from data import WordTextConfig, load_word_text, read_word_tests
from data.words.phrases import join_phrases
from data.words.text import word_text


def sentences(text: str, **options: object) -> list[str]:
    found = word_text([text], WordTextConfig(min_count=1, **options), {})  # type: ignore[arg-type]
    words = np.array(found.vocabulary.types)[found.ids]
    return [" ".join(part) for part in np.split(words, np.cumsum(found.lengths)[:-1])]


def test_sentences() -> None:
    """Between blank lines where there are any, else lines; without a book's frame and unknown words."""
    assert sentences("The cat,\nsat <unk> on\n \nA_b 9 mat!\n") == ["the cat sat on", "a_b 9 mat"]
    assert sentences("The cat\n<unk>\nsat\n", lowercase=False) == ["The cat", "sat"]
    assert sentences("a b-c.\n", words="spaces") == ["a b-c."]
    framed = "*** START OF THIS PROJECT ***\nthe book\n*** END OF THIS PROJECT ***\nlicence"
    assert sentences(framed) == ["the book"]


def test_vocabulary() -> None:
    """Most frequent first; rare words leave their sentences, and empty sentences go."""
    found = word_text(["b a b\nc\na b d\n"], WordTextConfig(min_count=2), {"file": "0"})
    assert found.vocabulary.types == ("b", "a")
    assert found.vocabulary.counts == (3, 2)
    assert found.ids.tolist() == [0, 1, 0, 1, 0]
    assert found.lengths.tolist() == [3, 2]
    with pytest.raises(ValueError, match="0 words of the text occur 9 times or more: lower"):
        word_text(["a b"], WordTextConfig(min_count=9), {})


def test_phrases() -> None:
    """n(a b) = 8, n(a) = 8, n(b) = 9 of 42 words: the score is (8 − 1) 42 / (8 · 9) = 4.08."""
    found = [["a", "b", "x"]] * 8 + [["y", "x", "x"]] * 5 + [["b", "y", "y"]]
    assert join_phrases(found, 1, 4.1) == found
    joined = join_phrases(found, 1, 4.0)
    assert joined[0] == ["a_b", "x"]
    assert joined[-1] == ["b", "y", "y"]
    assert join_phrases([["a", "b", "a", "b", "c"]] * 5, 1, 1.0)[0] == ["a_b", "a_b", "c"]


def test_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders are read together; the second time from the cache, with the same numbers."""
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "one.txt").write_text("the cat sat\n" * 5)
    (tmp_path / "other.txt").write_text("the dog ran\n" * 6)
    config = WordTextConfig((tmp_path / "books", tmp_path / "other.txt"), cache=tmp_path / "cache")
    first = load_word_text(config)
    monkeypatch.setattr("data.words.text.word_text", None)
    again = load_word_text(config)
    assert first.vocabulary == again.vocabulary
    np.testing.assert_array_equal(first.ids, again.ids)
    np.testing.assert_array_equal(first.lengths, again.lengths)
    assert again.summary().startswith("text: one.txt and 1 other files; 33 words in 11 sentences")


def test_tests(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("# people's scores\nking\tqueen\t8.5\n\ncar tree 1\n")
    (tmp_path / "questions.txt").write_text(": capitals\nAthens Greece Rome Italy\n: plurals\na b c d\n")
    found = read_word_tests(tmp_path)
    assert found.similarity == {"pairs": [("king", "queen", 8.5), ("car", "tree", 1.0)]}
    assert found.analogies == {
        "capitals": [("Athens", "Greece", "Rome", "Italy")],
        "plurals": [("a", "b", "c", "d")],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("king queen\n", "line 1 of .* is 'king queen', and should hold two words and a number"),
        ("a b 1\n\na b c\n", "line 3 of .* is 'a b c', and should hold two words and a number"),
        (": one\na b c\n", "line 2 of .* is 'a b c', and should hold four words"),
    ],
)
def test_broken_tests(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "broken.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_word_tests(tmp_path / "broken.txt")


def test_folder_without_tests(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no file that ends in \.txt"):
        read_word_tests(tmp_path)
