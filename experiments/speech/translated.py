"""Spoken digits with the German word of the number that they make, in parts: "two one" is "ein und zwanzig"."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

from data.speech.batches import SpeechEncoder
from data.speech.joined import JoinedUtterances, Part, Utterance
from data.speech.labels import Labels
from data.speech.recordings import DIGITS
from data.synthetic.number_words import german_number_parts
from experiments.speech.text import SpokenText

VALUES = {name: str(value) for value, name in enumerate(DIGITS)} | {
    str(value): str(value) for value in range(10)
}
MOST_DIGITS = 4  # of a number
COUNTED = 2000  # training utterances that the most frequent answer is found in


def number_of(words: Sequence[str]) -> str:
    """Returns the parts of the German word of a number, given its digits one by one; nothing for no digit. Zeros in
    front are of no account: "zero five" is "fünf". More digits than a number has stay digits: a net may write them.
    """
    digits = "".join(VALUES[word] for word in words)
    if len(digits) > MOST_DIGITS:
        return " ".join(digits)
    return " ".join(german_number_parts(int(digits))) if digits else ""


class TranslatedUtterances(JoinedUtterances):
    """Joined digits, whose text is the number in German from their first sample to the last."""

    def texts(self, index: int) -> list[str]:
        """Returns the number alone."""
        return [number_of([word.text for word in self.plan(index)[0]])]

    def __getitem__(self, index: int) -> Utterance:
        return translated(super().__getitem__(index))


def translated(utterance: Utterance) -> Utterance:
    """Returns an utterance of digits with its number in German as its text."""
    said = [part.text for part in utterance.parts if part.text in VALUES]
    return utterance._replace(parts=(Part(number_of(said), 0, len(utterance.samples)),))


@dataclass(frozen=True, eq=False)
class TranslatedText(SpokenText):
    """Spoken digits with numbers in German; `labels` are the parts of number words."""

    @classmethod
    def of(cls, spoken: SpokenText) -> "TranslatedText":
        """Returns spoken digits with the translation in place of the digits."""
        parts = {part for number in range(10**spoken.join.most) for part in german_number_parts(number)}
        labels = Labels(tuple(sorted(parts)), "words")
        own = {field.name: getattr(spoken, field.name) for field in fields(spoken)}
        held = {split: [translated(one) for one in found] for split, found in spoken.held_out.items()}
        encoder = SpeechEncoder(spoken.encoder.front, labels.encode)
        return cls(**{**own, "labels": labels, "encoder": encoder, "held_out": held})

    def train(self, seed: int, block: int) -> TranslatedUtterances:
        """Returns the utterances of training, joined anew for each seed."""
        found = super().train(seed, block)
        assert isinstance(found, JoinedUtterances)
        return TranslatedUtterances(**{field.name: getattr(found, field.name) for field in fields(found)})

    def most_frequent(self, seed: int) -> str:
        """Returns the commonest number of training."""
        source = self.train(seed, 1)
        ((found, _),) = Counter(source.texts(index)[0] for index in range(COUNTED)).most_common(1)
        return found
