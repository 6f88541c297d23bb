"""Utterances joined of single words, by index: utterance i is a function of the words, the seed and i alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from data.position import random_words
from data.speech.recordings import Recording
from data.speech.sound import Samples


class Part(NamedTuple):
    """Text that is said from sample `start` to `end`; a pause says the separator of words, or nothing."""

    text: str
    start: int
    end: int


class Utterance(NamedTuple):
    """Sound, and what it says from where to where: the text is that of the parts."""

    samples: Samples
    parts: tuple[Part, ...]
    name: str = ""

    @property
    def text(self) -> str:
        """Returns the text of all parts."""
        return "".join(part.text for part in self.parts)


def single_utterance(recording: Recording) -> Utterance:
    """Returns a recording as it is."""
    return Utterance(
        recording.samples, (Part(recording.text, 0, len(recording.samples)),), name=recording.name
    )


@dataclass(frozen=True)
class JoinConfig:
    """Rules by which single words are joined to utterances."""

    fewest: int = 3
    """Words of an utterance, at least."""
    most: int = 7
    """Words of an utterance, at most."""
    shortest_pause: float = 0.05
    """Seconds between words, at least."""
    longest_pause: float = 0.25
    """Seconds between words, at most."""
    loudness: float = 3.0
    """Decibels by which a word is louder or softer than the others, at most."""
    noise: float = -50.0
    """Decibels of the noise below the words, at most; it is drawn uniformly from 20 below that."""

    def __post_init__(self) -> None:
        if not 1 <= self.fewest <= self.most:
            raise ValueError(
                f"join.fewest is {self.fewest} and join.most {self.most}: give 1 or more, in order"
            )
        if not 0 <= self.shortest_pause <= self.longest_pause <= 60:
            raise ValueError(
                f"join.shortest_pause is {self.shortest_pause} and join.longest_pause {self.longest_pause} "
                "seconds: give 0 or more, in order"
            )
        if not 0 <= self.loudness <= 60:
            raise ValueError(f"join.loudness is {self.loudness} decibels: give 0 to 60")


@dataclass(frozen=True, eq=False)
class JoinedUtterances:
    """`count` utterances, each of words of one speaker at equal loudness, give or take, above faint noise. Those of
    a `block` of indices in a row have equally many words, so that a batch of them has little padding.

    Speakers and their words are drawn uniformly, with replacement. Raises ValueError if there is no word.
    """

    words: Sequence[Recording]
    config: JoinConfig
    rate: int
    seed: int
    count: int
    separator: str = " "
    block: int = 1

    def __post_init__(self) -> None:
        if not self.words:
            raise ValueError("there is no recorded word to join: give at least one")

    @cached_property
    def by_speaker(self) -> list[list[Recording]]:
        """The words of each speaker."""
        found: dict[str, list[Recording]] = {}
        for word in self.words:
            found.setdefault(word.speaker, []).append(word)
        return list(found.values())

    def __len__(self) -> int:
        return self.count

    def plan(self, index: int) -> tuple[list[Recording], list[int]]:
        """Returns the words of an utterance, and the samples of the pauses between them."""
        config = self.config
        span = config.most - config.fewest + 1
        number = config.fewest + int(random_words(1, self.seed, stream=2 * (index // self.block))[0] % span)
        draws = random_words(1 + 2 * number, self.seed, stream=2 * index + 1)
        own = self.by_speaker[int(draws[0] % len(self.by_speaker))]
        words = [own[int(draw % len(own))] for draw in draws[1 : number + 1]]
        shortest, longest = (
            round(seconds * self.rate) for seconds in (config.shortest_pause, config.longest_pause)
        )
        pauses = [shortest + int(draw % (longest - shortest + 1)) for draw in draws[number + 1 :]]
        return words, pauses[: number - 1]

    def texts(self, index: int) -> list[str]:
        """Returns the texts of an utterance's parts without making its sound."""
        words, _ = self.plan(index)
        return [text for word in words for text in (self.separator, word.text)][1:]

    def samples(self, index: int) -> int:
        """Returns the length of an utterance without making it."""
        words, pauses = self.plan(index)
        return sum(len(word.samples) for word in words) + sum(pauses)

    def __getitem__(self, index: int) -> Utterance:
        if not 0 <= index < self.count:
            raise IndexError(index)
        words, pauses = self.plan(index)
        total = sum(len(word.samples) for word in words) + sum(pauses)
        raw = random_words(len(words) + 1 + total, self.seed, stream=(1 << 62) + index)
        draws = (raw >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1)
        level = 0.1 * 10 ** ((self.config.noise - 20 * draws[0]) / 20)
        mixed = ((draws[len(words) + 1 :] - 0.5) * (level * 12**0.5)).astype(np.float32)
        place, parts = 0, []
        for number, (word, draw) in enumerate(zip(words, draws[1:], strict=False)):
            end = place + len(word.samples)
            gain = 10 ** (self.config.loudness * (2 * draw - 1) / 20)
            loud = float(np.sqrt(np.mean(np.square(word.samples)))) or 1.0
            mixed[place:end] += word.samples * np.float32(0.1 * gain / loud)
            parts.append(Part(word.text, place, end))
            place = end
            if number < len(pauses):
                place += pauses[number]
                parts.append(Part(self.separator, end, place))
        return Utterance(mixed, tuple(parts), name=f"utterance {index} of {len(words)} words")
