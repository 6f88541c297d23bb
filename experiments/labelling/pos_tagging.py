"""Tag parts of speech: "I saw a saw", PRON VERB DET NOUN. Ambiguous and unknown words are counted by themselves.

By default sentences of a small grammar, which are made from a key; --data.dir FOLDER reads CoNLL-U. --characters
none leaves words alone; --chain joins the tags by a conditional random field. --preset ewt, with --data.dir
PATH/ud-english-ewt, trains about 5 minutes on 2 CPU cores; ewt_words leaves characters out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from data.text.tagged import TagKind
from experiments.labelling.presets import EWT, EWT_WORDS
from experiments.labelling.tagged_words import HeldOut
from experiments.labelling.tagging import Answer, TaggingConfig, Trained, tagging_task, train_tagger
from experiments.labelling.tagging_report import beside, count_by_frequency, count_confusions, draw_labelling
from experiments.task import Metric, Task
from experiments.task_report import draw_task
from experiments.training import Flat
from train import LoopConfig, OptimizerConfig

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a word)", scale="log"),
    "accuracy": Metric("accuracy", ".2%", "higher"),
    "ambiguous": Metric("accuracy, words of two tags or more in training", ".2%", "higher"),
    "unknown": Metric("accuracy, words not in training", ".2%", "higher"),
}
# Sentences of words that have several tags, with those that they have here.
AMBIGUOUS = """
I/PRON saw/VERB a/DET saw/NOUN
she/PRON can/AUX watch/VERB the/DET can/NOUN
the/DET can/NOUN was/AUX red/ADJ
we/PRON can/AUX book/VERB a/DET flight/NOUN
I/PRON found/VERB that/DET book/NOUN
I/PRON thought/VERB that/SCONJ he/PRON left/VERB
that/PRON was/AUX a/DET good/ADJ play/NOUN
the/DET man/NOUN that/PRON I/PRON saw/VERB left/VERB
he/PRON will/AUX make/VERB a/DET will/NOUN
will/AUX it/PRON rain/VERB in/ADP Paris/PROPN on/ADP Monday/PROPN
they/PRON like/VERB a/DET man/NOUN like/ADP that/PRON
she/PRON said/VERB that/SCONJ that/DET man/NOUN was/AUX kind/ADJ
she/PRON watched/VERB the/DET play/NOUN with/ADP a/DET watch/NOUN
we/PRON want/VERB to/PART fly/VERB to/ADP Boston/PROPN
a/DET fly/NOUN walked/VERB to/ADP the/DET plant/NOUN
they/PRON can/AUX not/PART plant/VERB that/DET plant/NOUN
a/DET fast/ADJ duck/NOUN ran/VERB fast/ADV
the/DET guard/NOUN must/AUX guard/VERB the/DET bank/NOUN
a/DET kind/ADJ nurse/NOUN saw/VERB the/DET present/NOUN
the/DET present/ADJ cook/NOUN will/AUX cook/VERB the/DET duck/NOUN
there/PRON was/VERB no/DET light/NOUN in/ADP the/DET light/ADJ house/NOUN
"""


@dataclass(frozen=True)
class Config(TaggingConfig):
    """Parts of speech."""

    tags: Literal["upos", "xpos"] = "upos"
    """Universal parts of speech, or those of the language, of files in CoNLL-U."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=300, eval_every=50, save_every=100, chunk=1)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=3e-3, schedule="cosine")
    )

    @property
    def kind(self) -> TagKind:
        """Returns what the tags are."""
        return self.tags

    def task(self) -> Task:
        """Builds the task."""
        return tagging_task(
            self,
            title="parts of speech",
            metrics=METRICS,
            select="accuracy",
            baselines={"the commonest tag of each word": self.commonest},
            figures=self.figures,
            examples=self.examples,
            measure=self.measure,
        )

    def commonest(self, held: HeldOut) -> list[Answer]:
        """Answers without a net: the commonest tag of each word."""
        return [(tags, "") for tags in self.text.commonest_tags(held.sentences)]

    def figures(self, held: HeldOut, found: Sequence[Answer]) -> dict[str, float]:
        """Computes accuracies: of all words, of those with two tags or more in training, of those never seen."""
        right: dict[str, Counter[bool]] = {name: Counter() for name in ("accuracy", "ambiguous", "unknown")}
        for sentence, (tags, _) in zip(held.sentences, found, strict=True):
            for word, true, tag in zip(sentence.words, sentence.tags, tags, strict=True):
                kinds = len(self.text.tags_seen(word))
                right["accuracy"][true == tag] += 1
                if kinds != 1:
                    right["ambiguous" if kinds else "unknown"][true == tag] += 1
        return {name: counts[True] / counts.total() for name, counts in right.items() if counts}

    def examples(self, trained: Trained, held: HeldOut, found: Sequence[Answer]) -> str:
        """Formats the sentences of words with several tags, and what the model says of them; of universal tags."""
        del held, found
        if self.tags != "upos":
            return ""
        pairs = [[pair.split("/") for pair in line.split()] for line in AMBIGUOUS.strip().splitlines()]
        made = self.data.dir is None  # the grammar has no capitals
        sentences = [[word.lower() if made else word for word, _ in sentence] for sentence in pairs]
        blocks, right, counted = [], 0, 0
        for words, sentence, (tags, _) in zip(sentences, pairs, trained.ask(sentences), strict=True):
            true = [tag for _, tag in sentence]
            several = [len(self.text.tags_seen(word)) > 1 for word in words]
            right += sum(a == b for a, b, chosen in zip(true, tags, several, strict=True) if chosen)
            counted += sum(several)
            instead = [b if a != b else "" for a, b in zip(tags, true, strict=True)]
            blocks.append("\n".join(beside(words, tags, *([instead] if any(instead) else []))))
        head = (
            f"Of {counted} words with several tags in training in the sentences below {right} are right. Where the "
            "tag is wrong, the right one stands below it."
        )
        return "\n\n".join([head, *blocks])

    def measure(self, held: HeldOut, found: Sequence[Answer]) -> dict[str, np.ndarray]:
        """Measures confusions of tags, and errors by frequency."""
        tags = [tags for tags, _ in found]
        return count_confusions(held, tags) | count_by_frequency(self.text, held, tags)


PRESETS: Mapping[str, Config] = {
    "ewt": Config(preset="ewt", **EWT),
    "ewt_words": Config(preset="ewt_words", **EWT_WORDS),
}


main = train_tagger


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run, from its arrays."""
    return [*draw_task(folder, METRICS, "accuracy"), *draw_labelling(folder)]
