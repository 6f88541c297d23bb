"""Words said one after another, a tone, and one of them again: which word came after it?

As the listening test of a Neural Turing machine asks: the answer needs the order of what was said.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int32

from data.examples import Example
from data.position import random_order, random_words
from data.speech.features import FrontEnd
from data.speech.joined import JoinedUtterances, Utterance
from data.speech.recordings import Recording
from data.speech.sound import Samples

TONE, TONE_HERTZ, TONE_SECONDS = "tone", 440.0, 0.15
NOTHING = 0  # the label of a step in which no word is said


def question_tone(rate: int) -> Samples:
    """Returns the tone before the question, which no keypad has."""
    time = np.arange(round(TONE_SECONDS * rate)) / rate
    ramp = np.minimum(1, np.minimum(time, time[::-1]) / 0.005)  # without clicks
    return (0.3 * ramp * np.sin(2 * np.pi * TONE_HERTZ * time)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RecallUtterances(JoinedUtterances):
    """Utterances of n different words of one speaker, a tone, and one of the first n − 1 again, in a recording of
    its own draw; `answer` is the word that came after it.

    Speakers, words, their order and recordings are drawn uniformly. Raises ValueError where a speaker has fewer
    words than `config.most`, or `config.fewest` is below 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.config.fewest < 2:
            raise ValueError(f"join.fewest is {self.config.fewest}: a word that comes after another needs 2")
        poorest = min(self.by_word, key=len)
        if len(poorest) < self.config.most:
            speaker = next(iter(poorest.values()))[0].speaker
            raise ValueError(
                f"join.most is {self.config.most}, but {speaker!r} says {len(poorest)} different words"
            )

    @cached_property
    def by_word(self) -> list[dict[str, list[Recording]]]:
        """The recordings of each word, of each speaker."""
        found: list[dict[str, list[Recording]]] = []
        for recordings in self.by_speaker:
            own: dict[str, list[Recording]] = {}
            for one in recordings:
                own.setdefault(one.text, []).append(one)
            found.append(own)
        return found

    def plan(self, index: int) -> tuple[list[Recording], list[int]]:
        """Returns the recordings of an utterance, the tone among them, and the samples of the pauses between."""
        config = self.config
        span = config.most - config.fewest + 1
        number = config.fewest + int(random_words(1, self.seed, stream=2 * (index // self.block))[0] % span)
        speaker, asked, *draws = random_words(4 + 2 * number, self.seed, stream=2 * index + 1).tolist()
        own = self.by_word[speaker % len(self.by_word)]
        texts = list(own)
        order = random_order(len(texts), self.seed, stream=(1 << 61) + index)[:number].tolist()
        said = [texts[place] for place in order]
        said.append(said[asked % (number - 1)])
        words = [own[text][draw % len(own[text])] for text, draw in zip(said, draws, strict=False)]
        words.insert(number, Recording(question_tone(self.rate), TONE, words[0].speaker, TONE))
        shortest, longest = (
            round(seconds * self.rate) for seconds in (config.shortest_pause, config.longest_pause)
        )
        pauses = [shortest + int(draw % (longest - shortest + 1)) for draw in draws[number + 1 :]]
        return words, pauses

    def answer(self, index: int) -> str:
        """Returns the word that came after the one asked for."""
        *told, _, asked = (word.text for word in self.plan(index)[0])
        return told[told.index(asked) + 1]


@dataclass(frozen=True)
class RecallEncoder:
    """Makes examples: the steps of the sound and `blanks` of zeros, targets `[T]` of the word that is said at each
    step, 1 + its place in `words`, or 0 for none; at the last step the answer."""

    front: FrontEnd
    words: tuple[str, ...]
    blanks: int

    def __call__(self, utterance: Utterance, answer: str) -> Example:
        steps = self.front(utterance.samples)
        inputs = np.pad(steps, ((0, self.blanks), (0, 0)))
        targets = np.concatenate([self.said(utterance, len(steps)), np.zeros(self.blanks, np.int32)])
        targets[-1] = 1 + self.words.index(answer)
        return Example(inputs, targets)

    def said(self, utterance: Utterance, steps: int) -> Int32[np.ndarray, " T"]:
        """Returns the label of what is said in the middle of each step."""
        config = self.front.config
        middle = (np.arange(steps) + 0.5) * (config.stack * config.hop_samples)
        labels = np.full(steps, NOTHING, np.int32)
        for part in utterance.parts:
            if part.text in self.words:
                labels[(part.start <= middle) & (middle < part.end)] = 1 + self.words.index(part.text)
        return labels

    def steps(self, samples: int) -> int:
        """Returns the steps of an example of so many samples."""
        return self.front.config.steps(samples) + self.blanks


def recall_examples(source: RecallUtterances, encoder: RecallEncoder) -> list[Example]:
    """Returns an example for each utterance."""
    return [encoder(source[index], source.answer(index)) for index in range(len(source))]
