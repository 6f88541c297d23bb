"""Stories as rows of word ids, a sentence or a word a step."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from data.examples import Example
from data.stories.corpus import Question, Sentence

Reading = Literal["sentence", "word"]


class Words:
    """Numbers of words and answers: ids of words from 2, 0 for no word and 1 for an unknown one; answers from
    1, 0 for one that training never has."""

    def __init__(self, questions: Iterable[Question]) -> None:
        questions = list(questions)
        sentences = [sentence for q in questions for sentence in (*q.story, q.words)]
        words = sorted({word for sentence in sentences for word in sentence})
        self.ids = {word: place for place, word in enumerate(words, 2)}
        self.answers = {
            answer: place for place, answer in enumerate(sorted({q.answer for q in questions}), 1)
        }
        self.widest = max(map(len, sentences))

    @property
    def size(self) -> int:
        """The number of ids."""
        return len(self.ids) + 2

    def steps(self, question: Question, reading: Reading) -> list[Sentence]:
        """Returns the words of each step: a sentence each, the question last; or one word each, where a full stop
        ends each sentence as an unknown word."""
        sentences = [*question.story, question.words]
        if reading == "sentence":
            return sentences
        return [(word,) for sentence in sentences for word in (*sentence, ".")]

    def example(self, question: Question, reading: Reading, blanks: int) -> Example:
        """Returns ids `[T, W]`, zeros after the words of a step, with `blanks` steps without words at the end, and
        the number of the answer."""
        steps = self.steps(question, reading)
        rows = np.zeros((len(steps) + blanks, self.widest if reading == "sentence" else 1), np.int32)
        for row, words in zip(rows, steps, strict=False):
            kept = words[: len(row)]
            row[: len(kept)] = [self.ids.get(word, 1) for word in kept]
        return Example(rows, np.array(self.answers.get(question.answer, 0), np.int32))

    def examples(self, questions: Sequence[Question], reading: Reading, blanks: int) -> list[Example]:
        """Returns an example for each question."""
        return [self.example(question, reading, blanks) for question in questions]
