"""Tagged sentences as batches of ids, and what their training words say of tags."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from data import (
    Batch,
    Example,
    SentenceEncoder,
    SortedBatches,
    TaggedSentence,
    TaggedText,
    Vocabulary,
    load_encoder,
    sorted_batches,
)
from data.text.vocabulary import UNKNOWN
from experiments.pretrained.encoder_run import WORDS

TOGETHER = 100  # sentences of a held-out batch
TAGS, LABELS = "tags.json", "labels.json"  # in a run's folder, beside the words


@dataclass(frozen=True)
class Codes:
    """The ids of words, tags and labels. Id 0 of tags and labels stands for those that no training sentence has."""

    words: SentenceEncoder
    tags: Vocabulary
    labels: Vocabulary | None

    def files(self) -> dict[str, bytes]:
        """Returns the files from which `load` reads them."""
        files = {WORDS: self.words.to_json(), TAGS: self.tags.to_json()}
        return files | ({} if self.labels is None else {LABELS: self.labels.to_json()})

    @classmethod
    def load(cls, folder: Path) -> "Codes":
        """Reads the files in a run's folder. Raises ValueError if one is missing or damaged."""
        labels = Vocabulary.load(folder / LABELS) if (folder / LABELS).is_file() else None
        return cls(load_encoder(folder / WORDS), Vocabulary.load(folder / TAGS), labels)

    @cached_property
    def digest(self) -> str:
        """Returns sixteen hexadecimal digits of what the ids stand for."""
        return hashlib.sha256(b"".join(self.files().values())).hexdigest()[:16]

    def example(self, sentence: TaggedSentence) -> Example:
        """Returns a sentence, tagged or not, as ids: its words `[T, 1 + C]`, its tags `[T]`; with labels `[T, 2]`,
        the id of its label beside each tag."""
        target = self.tags.encode(sentence.tags or [UNKNOWN] * len(sentence.words))
        if self.labels is not None:
            label = np.full_like(target, self.labels.encode([sentence.label])[0])
            target = np.stack([target, label], axis=-1)
        return Example(self.words.encode(sentence.words), target)

    def tag(self, number: int) -> str:
        """Returns the tag of an id, of 0 the commonest one: nothing is to be predicted that was never seen."""
        return self.tags.types[number or 1]

    def label(self, number: int) -> str:
        """Returns the label of an id, of 0 the commonest one; empty if there are none."""
        return "" if self.labels is None else self.labels.types[number or 1]


class HeldOut(list[Batch]):
    """Held-out batches, which know the sentences in them, in their order."""

    def __init__(self, sentences: Sequence[TaggedSentence], batches: SortedBatches) -> None:
        super().__init__(batches.batches)
        self.sentences = [sentences[place] for place in batches.order.tolist()]


@dataclass(frozen=True, eq=False)
class TaggedWords:
    """A tagged text with the ids of its words, tags and labels."""

    text: TaggedText
    codes: Codes

    @property
    def origin(self) -> Mapping[str, str]:
        """The checksums of the files, by their names."""
        return self.text.origin

    def tokenizer_files(self) -> dict[str, bytes]:
        """Returns the files that a run keeps of its words, tags and labels."""
        return self.codes.files()

    def examples(self, split: str) -> list[Example]:
        """Returns the sentences of a split as ids."""
        return [self.codes.example(sentence) for sentence in self.text.splits[split]]

    def held_out(self, split: str, bounds: Sequence[int]) -> HeldOut:
        """Returns a split in batches of sentences of similar length."""
        sentences = self.text.splits[split]
        batches = sorted_batches(
            self.examples(split), batch_size=min(TOGETHER, len(sentences)), bounds=bounds
        )
        return HeldOut(sentences, batches)

    @cached_property
    def longest(self) -> int:
        """The number of words of the longest sentence."""
        return max(len(one.words) for sentences in self.text.splits.values() for one in sentences)

    @cached_property
    def seen(self) -> dict[str, Counter[str]]:
        """Counts the tags of every training word, as the vocabulary spells it."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence in self.text.splits["train"]:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                counts[self.form(word)][tag] += 1
        return dict(counts)

    def form(self, word: str) -> str:
        """Returns a word as the vocabulary spells it."""
        return self.codes.words.form(word)

    def tags_seen(self, word: str) -> Counter[str]:
        """Counts the tags of a word in training; empty for an unknown one."""
        return self.seen.get(self.form(word), Counter())

    def commonest_tags(self, sentences: Sequence[TaggedSentence]) -> list[tuple[str, ...]]:
        """Tags each word as it mostly is in training, unknown words as words seen once mostly are."""
        once = Counter(tag for counts in self.seen.values() if counts.total() == 1 for tag in counts)
        rare = (once or self.text.counts()).most_common(1)[0][0]
        best = {word: counts.most_common(1)[0][0] for word, counts in self.seen.items()}
        return [tuple(best.get(self.form(word), rare) for word in one.words) for one in sentences]


def tagged_words(text: TaggedText, words: SentenceEncoder) -> TaggedWords:
    """Numbers the tags and labels of the training sentences."""
    labels = text.labels()
    return TaggedWords(
        text, Codes(words, Vocabulary.build(text.counts()), Vocabulary.build(labels) if labels else None)
    )
