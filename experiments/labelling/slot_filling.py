"""Find the slots of a request and its intent: "fly from [boston]from.city", flight. Span F1 as conlleval.

By default requests of a small grammar, which are made from a key; --data.dir FOLDER reads files of ATIS's form.
--chain joins the tags by a conditional random field. --preset atis, with --data.dir PATH/atis, trains about 5
minutes on 2 CPU cores.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

from analysis import SpanF1, corpus_score, iob_spans
from data.text.tagged import TagKind
from experiments.labelling.presets import ATIS
from experiments.labelling.tagged_words import HeldOut
from experiments.labelling.tagging import Answer, TaggingConfig, Trained, tagging_task, train_tagger
from experiments.labelling.tagging_report import count_by_frequency, count_confusions, draw_labelling
from experiments.task import Metric, Task
from experiments.task_report import draw_task
from experiments.training import Flat
from train import LoopConfig, OptimizerConfig

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy (nats a word)", scale="log"),
    "f1": Metric("span F1", ".2%", "higher"),
    "accuracy": Metric("accuracy of tags", ".2%", "higher"),
    "intent": Metric("accuracy of intents", ".2%", "higher"),
}
EXAMPLES = 10


@dataclass(frozen=True)
class Config(TaggingConfig):
    """Slots."""

    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=300, eval_every=50, save_every=100, chunk=1)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=3e-3, schedule="cosine")
    )

    @property
    def kind(self) -> TagKind:
        """Returns what the tags are."""
        return "slots"

    def task(self) -> Task:
        """Builds the task."""
        return tagging_task(
            self,
            title="slots",
            metrics=METRICS,
            select="f1",
            baselines={"the commonest tag of each word": self.commonest},
            figures=figures,
            examples=examples,
            measure=self.measure,
        )

    def commonest(self, held: HeldOut) -> list[Answer]:
        """Answers without a net: the commonest tag of each word, and the commonest intent."""
        labels = self.text.text.labels()
        label = labels.most_common(1)[0][0] if labels else ""
        return [(tags, label) for tags in self.text.commonest_tags(held.sentences)]

    def measure(self, held: HeldOut, found: Sequence[Answer]) -> dict[str, np.ndarray]:
        """Measures confusions of the types of slots, word by word, and errors by frequency."""
        tags = [tags for tags, _ in found]
        return count_confusions(held, tags) | count_by_frequency(self.text, held, tags)


PRESETS: Mapping[str, Config] = {"atis": Config(preset="atis", **ATIS)}


def figures(held: HeldOut, found: Sequence[Answer]) -> dict[str, float]:
    """Computes span F1, and the accuracy of tags and intents."""
    true = [sentence.tags for sentence in held.sentences]
    predicted = [tags for tags, _ in found]
    right = Counter(a == b for pair in zip(true, predicted, strict=True) for a, b in zip(*pair, strict=True))
    scores = {
        "f1": corpus_score(SpanF1(), list(map(" ".join, predicted)), list(map(" ".join, true))),
        "accuracy": right[True] / right.total(),
    }
    if held.sentences[0].label:
        labels = [label == one.label for (_, label), one in zip(found, held.sentences, strict=True)]
        scores["intent"] = sum(labels) / len(labels)
    return scores


def examples(trained: Trained, held: HeldOut, found: Sequence[Answer]) -> str:
    """Formats sentences of which something is wrong, evenly spaced, each above what is right."""
    del trained
    wrong = [
        (sentence, answer)
        for sentence, answer in zip(held.sentences, found, strict=True)
        if answer != (sentence.tags, sentence.label)
    ]
    places = np.linspace(0, len(wrong) - 1, min(EXAMPLES, len(wrong))).astype(int)
    lines = [f"{len(wrong):,} of {len(found):,} sentences have an error; some of them:"]
    for sentence, (tags, label) in (wrong[place] for place in places.tolist()):
        lines += [
            "",
            f"predicted  {bracketed(sentence.words, tags)}  {label}".rstrip(),
            f"true       {bracketed(sentence.words, sentence.tags)}  {sentence.label}".rstrip(),
        ]
    return "\n".join(lines)


def bracketed(words: Sequence[str], tags: Sequence[str]) -> str:
    """Writes a sentence with its slots in brackets, their types behind: "to [new york]to.city"."""
    written = list(words)
    for span in iob_spans(tags):
        written[span.start] = f"[{written[span.start]}"
        written[span.end - 1] += f"]{span.type}"
    return " ".join(written)


main = train_tagger


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run, from its arrays."""
    return [*draw_task(folder, METRICS, "f1"), *draw_labelling(folder)]
