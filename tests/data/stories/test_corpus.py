"""Stories from files and as rows of ids, and what is malformed."""

from pathlib import Path

import numpy as np
import pytest

from data.stories.corpus import Question, majority, read_stories, read_task
from data.stories.rows import Words

FILE = """1 Anna ran to the attic.
2 Where is Anna? \tattic\t1
3 Emil took the lamp.
4 Is Emil in the attic?\tno
1 Boris left.
2 Who left?\tBoris
"""


def test_questions_of_a_file(tmp_path: Path) -> None:
    """A question isn't a sentence of the story; the next 1 begins another."""
    (tmp_path / "a.txt").write_text(FILE)
    first, second, third = read_stories(tmp_path / "a.txt")
    ran = ("anna", "ran", "to", "the", "attic")
    assert first == Question((ran,), ("where", "is", "anna", "?"), "attic")
    assert second.story == (ran, ("emil", "took", "the", "lamp"))
    assert third == Question((("boris", "left"),), ("who", "left", "?"), "boris")
    assert majority([first, first, second], [first, third]) == 0.5


def test_rows() -> None:
    """Ids stand in words' order, zeros after them; blanks are empty; unknown words are 1, unknown answers 0."""
    known = Question((("b", "a"),), ("a", "c", "?"), "b")
    words = Words([known])
    rows, answer = words.example(known, "sentence", blanks=1)
    assert words.ids == {"?": 2, "a": 3, "b": 4, "c": 5}
    np.testing.assert_array_equal(rows, [[4, 3, 0], [3, 5, 2], [0, 0, 0]])
    assert answer == 1
    rows, answer = words.example(Question((("z",),), ("a", "?"), "z"), "word", blanks=0)
    np.testing.assert_array_equal(rows[:, 0], [1, 1, 3, 2, 1])
    assert answer == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 A b.\n2 What?\tb\nc d\n", "line 3 of .*and should be a number and a sentence"),
        ("1 A b.\n3 What?\tb\n", "line 2 of .*has number 3 after 1"),
        ("1 A b.\n1 C d.\n2 What?\td\n", "ends before line 2 of .*has no question"),
        ("1 A b.\n2 What?\tb\n1 C d.\n", "the last story of .*has no question"),
        ("1 What?\tb\n", "line 1 of .*no sentence of its story"),
        ("1 A b.\n2 What?\t \n", "line 2 of .*without an answer"),
        ("1 .\n2 What?\tb\n", "line 1 of .*has no words"),
    ],
)
def test_malformed(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_stories(tmp_path / "a.txt")


def test_a_task_has_one_file_of_each(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds 0 files qa3_"):
        read_task(tmp_path, 3)
