"""Vocabularies: who is in, under which number, and vectors made of the numbers."""

from pathlib import Path

import numpy as np
import pytest

from data import Vocabulary

COUNTS = {"b": 3, "a": 3, "c": 5, "d": 1, "<unk>": 2, "<eos>": 4}


def test_the_most_frequent_come_first_and_marks_before_them() -> None:
    vocabulary = Vocabulary.build(COUNTS, min_count=2, end="<eos>")
    assert vocabulary.types == ("<unk>", "<eos>", "c", "a", "b")
    assert vocabulary.counts == (3, 4, 5, 3, 3)  # d is among the unknown
    assert (vocabulary.unknown_id, vocabulary.end_id) == (0, 1)
    ids = vocabulary.encode(["a", "d", "c", "never", "<unk>", "<eos>"])
    assert ids.tolist() == [3, 0, 2, 0, 0, 1]
    assert ids.dtype == np.int32
    assert vocabulary.decode(ids) == ["a", "<unk>", "c", "<unk>", "<unk>", "<eos>"]


def test_limit_counts_types_beside_the_marks() -> None:
    vocabulary = Vocabulary.build(COUNTS, limit=2, end="<eos>")
    assert vocabulary.types == ("<unk>", "<eos>", "c", "a")
    assert sum(vocabulary.counts) == sum(COUNTS.values())


def test_one_hot_has_a_class_for_others() -> None:
    vocabulary = Vocabulary.build({"x": 2, "y": 1})
    hot = vocabulary.one_hot(vocabulary.encode(["y", "what", "x"]))
    np.testing.assert_array_equal(hot, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert hot.dtype == np.float32


def test_bags_forget_the_order() -> None:
    vocabulary = Vocabulary.build({"x": 2, "y": 1})
    documents = [vocabulary.encode(text.split()) for text in ("x y x what", "x x y what", "")]
    bags = vocabulary.bag_of_words(documents)
    np.testing.assert_array_equal(bags, [[1, 2, 1], [1, 2, 1], [0, 0, 0]])
    np.testing.assert_array_equal(vocabulary.bag_of_words(documents, binary=True)[0], [1, 1, 1])


def test_saved_and_loaded(tmp_path: Path) -> None:
    vocabulary = Vocabulary.build({"ü": 2, "\n": 1, '"': 9}, end="<eos>")
    (tmp_path / "v.json").write_bytes(vocabulary.to_json())
    assert Vocabulary.load(tmp_path / "v.json") == vocabulary
    (tmp_path / "v.json").write_text('{"types": ["a", "a"], "counts": [1, 1], "unknown": null, "end": null}')
    with pytest.raises(ValueError, match="each type must occur once"):
        Vocabulary.load(tmp_path / "v.json")
    (tmp_path / "v.json").write_text('{"types":')
    with pytest.raises(ValueError, match="is damaged"):
        Vocabulary.load(tmp_path / "v.json")
    with pytest.raises(ValueError, match="there is no vocabulary"):
        Vocabulary.load(tmp_path / "w.json")


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="limit must be 1 or more, but is 0"):
        Vocabulary.build(COUNTS, limit=0)
    with pytest.raises(ValueError, match="min-count must be 1 or more, but is 0"):
        Vocabulary.build(COUNTS, min_count=0)
    with pytest.raises(ValueError, match="no type occurs 9 times or more"):
        Vocabulary.build(COUNTS, min_count=9)
    with pytest.raises(ValueError, match="4 types are left out, but there is no mark"):
        Vocabulary.build(COUNTS, min_count=4, unknown=None, end="<eos>")
    closed = Vocabulary.build({"x": 1}, unknown=None)
    with pytest.raises(ValueError, match="'y' is not in the vocabulary"):
        closed.encode(["x", "y"])
    for use in (
        closed.decode,
        lambda ids: closed.one_hot(np.array(ids)),
        lambda ids: closed.bag_of_words([np.array(ids)]),
    ):
        with pytest.raises(ValueError, match="1 is not an id of this vocabulary, which has 0 … 0"):
            use([1])
