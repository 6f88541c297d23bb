"""Stories with questions that have one answer, in the format of bAbI. Weston et al. 2015.

A line is `n sentence`, or `n question<TAB>answer<TAB>supporting lines`; n counts from 1 within a story. A question
asks about all sentences of its story before it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data.text.files import read_file

Sentence = tuple[str, ...]  # words in lower case, without their full stop


class Question(NamedTuple):
    """A question about a story: the sentences before it, its own words, and its answer."""

    story: tuple[Sentence, ...]
    words: Sentence
    answer: str


def words_of(text: str) -> Sentence:
    """Splits a sentence into words in lower case; a question mark is a word, a full stop isn't."""
    return tuple(re.findall(r"[^\s.?]+|\?", text.lower()))


def read_stories(path: Path) -> list[Question]:
    """Reads the questions of a file.

    Raises ValueError, with the number of the line, for a line that begins with no number or with one that doesn't
    follow the last, for a sentence without words, a question without an answer or without a story, and for a story
    that nothing is asked about.
    """
    found: list[Question] = []
    story: list[Sentence] = []
    last, asked = 0, True
    for place, line in enumerate(read_file(path).text().rstrip("\n").split("\n"), 1):
        where = f"line {place} of {path}"
        number, _, rest = line.partition(" ")
        if not number.isdecimal() or not rest.strip():
            raise ValueError(
                f"{where} is {line!r:.60}, and should be a number and a sentence, or a number, a question, a tab "
                "and an answer: correct it"
            )
        if int(number) == 1:
            _check_asked(asked, f"the story that ends before {where}")
            story, asked = [], False
        elif int(number) != last + 1:
            raise ValueError(f"{where} has number {number} after {last}: number the lines of a story from 1")
        last = int(number)
        text, *fields = rest.split("\t")
        words = words_of(text)
        if not words:
            raise ValueError(f"{where} has no words: correct it")
        if not fields:
            story.append(words)
            continue
        answer = fields[0].strip().lower()
        if not answer:
            raise ValueError(f"{where} asks a question without an answer: write it after a tab")
        if not story:
            raise ValueError(f"{where} asks a question, but no sentence of its story stands before it")
        found.append(Question(tuple(story), words, answer))
        asked = True
    _check_asked(asked, f"the last story of {path}")
    return found


def _check_asked(asked: bool, story: str) -> None:
    if not asked:
        raise ValueError(
            f"{story} has no question: write one, with a tab and its answer, or leave the story out"
        )


def read_task(folder: Path, task: int) -> tuple[list[Question], list[Question]]:
    """Reads the questions of a task of bAbI to train and to test on: `qaTASK_…_train.txt` and `…_test.txt`.

    Raises ValueError for a folder that holds not exactly one of each, and as `read_stories` does.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: name one that holds bAbI's files")
    read = []
    for split in ("train", "test"):
        paths = sorted(folder.glob(f"qa{task}_*_{split}.txt"))
        if len(paths) != 1:
            raise ValueError(
                f"{folder} holds {len(paths)} files qa{task}_…_{split}.txt, and should hold one: leave task {task} "
                "out, or add its files"
            )
        read.append(read_stories(paths[0]))
    return read[0], read[1]


def majority(train: Sequence[Question], test: Sequence[Question]) -> float:
    """Returns the share of test questions whose answer is the commonest of training."""
    answers = [question.answer for question in train]
    commonest = max(sorted(set(answers)), key=answers.count)
    return sum(question.answer == commonest for question in test) / len(test)
