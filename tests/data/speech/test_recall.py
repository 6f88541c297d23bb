"""Utterances with a question: different words, the tone, the answer, the labels of the steps."""

import dataclasses

import numpy as np
import pytest

from data.speech.corpus import SpeechConfig, load_speech
from data.speech.features import FeaturesConfig, FrontEnd
from data.speech.joined import JoinConfig
from data.speech.recall import TONE, RecallEncoder, RecallUtterances, recall_examples

JOIN = JoinConfig(fewest=3, most=5, shortest_pause=0.05, longest_pause=0.1)
WORDS = tuple("0123456789")


def utterances(join: JoinConfig = JOIN) -> RecallUtterances:
    speech = load_speech(SpeechConfig())
    return RecallUtterances(speech.splits["test"], join, speech.rate, seed=3, count=40)


def test_the_answer_is_the_word_after_the_one_that_is_said_again() -> None:
    source, asked_at, again = utterances(), set(), []
    for index in range(40):
        recordings, pauses = source.plan(index)
        *told, tone, asked = (one.text for one in recordings)
        assert 3 <= len(told) <= 5
        assert len(set(told)) == len(told)
        assert tone == TONE
        assert f"{asked}{source.answer(index)}" in "".join(told)
        assert len(pauses) == len(told) + 1
        assert len(source[index].samples) == source.samples(index)
        asked_at.add(told.index(asked))
        again.append(recordings[told.index(asked)].name != recordings[-1].name)
    assert asked_at == {0, 1, 2, 3}
    assert sum(again) > 30  # of 40 recordings of a digit one is rarely drawn twice


def test_steps_are_labelled_by_what_is_said_and_the_last_by_the_answer() -> None:
    source = utterances()
    encoder = RecallEncoder(FrontEnd(FeaturesConfig(filters=8, stack=2)), WORDS, blanks=3)
    for index, example in enumerate(recall_examples(source, encoder)[:10]):
        inputs, targets = example
        targets = np.asarray(targets)
        assert len(inputs) == len(targets) == encoder.steps(source.samples(index))
        assert not inputs[-3:].any()
        assert targets[-3:].tolist() == [0, 0, 1 + int(source.answer(index))]
        for part in source[index].parts:
            step = (part.start + part.end) // 2 // 160  # 20 ms
            assert targets[step] == (1 + int(part.text) if part.text.isdigit() else 0)


def test_too_few_words_are_refused() -> None:
    with pytest.raises(ValueError, match="fewest is 1: a word that comes after another needs 2"):
        utterances(dataclasses.replace(JOIN, fewest=1))
    with pytest.raises(ValueError, match="most is 11, but 'keypad' says 10 different words"):
        utterances(dataclasses.replace(JOIN, most=11))
