"""Training of a tagger as a `Task`: what `slot_filling` and `pos_tagging` share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import (
    Batch,
    SentenceEncoder,
    TaggedSentence,
    WordEncoder,
    bucket_batches,
    collate,
    length_bounds,
    load_tagged,
)
from data.batch import Batches
from data.text.tagged import TaggedConfig, TagKind
from experiments.footprint import check_task_fits
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.labelling.config import LabellingConfig, batch_shapes
from experiments.labelling.tagged_words import Codes, HeldOut, TaggedWords, tagged_words
from experiments.labelling.tagging_report import draw_labelling
from experiments.objective import Objective
from experiments.run_task import run_task
from experiments.task import Data, Metric, Scores, Task
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from models import Tagger
from models.cell import Array, Params
from train import SumCount

CODES = "the words and tags"  # their digest in checkpoints, beside the options


@dataclass(frozen=True)
class TaggingConfig(LabellingConfig):
    """The options of an experiment that trains a tagger."""

    data: TaggedConfig = field(default_factory=TaggedConfig)
    chain: bool = False
    """Join the tags of a sentence by a linear-chain conditional random field (Lafferty et al. 2001)."""
    hidden_size: int = 100
    """Units of the cell in each direction, H."""
    batch_size: int = 32
    """Sentences per step, B."""

    @property
    def kind(self) -> TagKind:
        """Returns what the tags are."""
        raise NotImplementedError

    @cached_property
    def text(self) -> TaggedWords:
        """Returns the sentences and the ids of their words, loaded when first asked for."""
        return load_words(self.data, self.kind, self.model.characters != "none", self.one_row_a_word())

    def check(self) -> None:
        """Checks the options against the text and the shapes of the model, before a run is begun."""
        super().check()
        codes, train = self.text.codes, self.text.text.splits["train"]
        self.check_words(codes.words, self.build(codes), [sentence.words for sentence in train])
        check_task_fits(self.task(), self)

    def task(self) -> Task:
        """Builds the task."""
        raise NotImplementedError

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other sentences."""
        check_same_text(folder, self.text)

    def build(self, codes: Codes) -> Tagger:
        """Builds the model for the ids of a text."""
        labels = 0 if codes.labels is None else len(codes.labels)
        return Tagger(
            self.model.reader(codes.words),
            self.layer(),
            len(codes.tags),
            labels,
            chain=self.chain,
            dropout=self.model.vector_dropout,
            method=self.network.way,
        )

    def label(self) -> str:
        """Names the network as figures and tables do."""
        parts = [super().label(), *(["chain"] if self.chain else [])]
        return ", ".join([*parts, "words alone"] if self.model.characters == "none" else parts)


@lru_cache(maxsize=1)
def load_words(
    data: TaggedConfig, kind: TagKind, characters: bool, words: SentenceEncoder | None = None
) -> TaggedWords:
    """Loads tagged sentences, and numbers the training words, unless an encoder of `words` is given."""
    text = load_tagged(data, kind)
    words = words or WordEncoder.build(
        (sentence.words for sentence in text.splits["train"]),
        characters=characters,
        lowercase=data.lowercase,
        min_count=data.min_count,
        longest=data.longest_word,
    )
    return tagged_words(text, words)


@dataclass(frozen=True)
class TaggingLoss:
    """The cross entropy of tags and labels, in nats, of a mean word. Equal for equal models, so compiled once."""

    model: Tagger
    train: bool = True

    def measured(self, params: Params, batch: Batch, **options: Any) -> SumCount:
        """Computes the sum over a batch, and the number of its words."""
        targets: Any = jnp.asarray(batch.targets)
        tags, labels = targets, None
        if self.model.labels:  # beside every tag the same label
            tags, labels = targets[..., 0], jnp.max(targets[..., 1], axis=0)
        given: Any = {"mask": jnp.asarray(batch.mask), "train": self.train, "method": "loss", **options}
        return self.model.apply(params, jnp.asarray(batch.inputs), tags, labels, **given)  # type: ignore[return-value]

    def __call__(
        self, params: Params, carry: Any, batch: Batch, key: Array
    ) -> tuple[SumCount, tuple[Any, dict[str, SumCount]]]:
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 1)}
        return self.measured(params, batch, rngs=rngs), (carry, {})


@dataclass(frozen=True)
class TaggingEvaluation:
    """The cross entropy of a held-out batch, without dropout."""

    model: Tagger

    def __call__(self, params: Params, batch: Batch) -> dict[str, SumCount]:
        return {"cross_entropy": TaggingLoss(self.model, train=False).measured(params, batch)}


Answer = tuple[tuple[str, ...], str]  # the tags of a sentence, and its label, empty if it has none


@partial(jax.jit, static_argnames="model")
def predict(model: Tagger, params: Params, batch: Batch) -> Any:
    """Returns the model's predictions, compiled once for equal models."""
    return model.apply(params, batch.inputs, mask=batch.mask, method="predict")


@dataclass(frozen=True)
class Trained:
    """A tagger with its parameters."""

    model: Tagger
    params: Params
    codes: Codes

    def answers(self, batches: Sequence[Batch]) -> list[Answer]:
        """Returns what the model says of each sentence, without those that are padding."""
        found: list[Answer] = []
        for batch in batches:
            tags, labels = jax.tree.map(np.asarray, predict(self.model, self.params, batch))
            for place, length in enumerate(np.asarray(batch.mask).sum(axis=0).tolist()):
                if length:
                    named = tuple(self.codes.tag(number) for number in tags[:length, place].tolist())
                    label = "" if labels is None else self.codes.label(int(labels[place]))
                    found.append((named, label))
        return found

    def ask(self, sentences: Sequence[Sequence[str]]) -> list[Answer]:
        """Returns what the model says of sentences, in one batch."""
        examples = [self.codes.example(TaggedSentence(tuple(words), ())) for words in sentences]
        return self.answers([collate(examples, max(map(len, sentences)))])


def tagging_task(
    config: TaggingConfig,
    *,
    title: str,
    metrics: Mapping[str, Metric],
    select: str,
    baselines: Mapping[str, Callable[[HeldOut], Sequence[Answer]]],
    figures: Callable[[HeldOut, Sequence[Answer]], Mapping[str, float]],
    examples: Callable[[Trained, HeldOut, Sequence[Answer]], str],
    measure: Callable[[HeldOut, Sequence[Answer]], Mapping[str, np.ndarray]],
) -> Task:
    """Builds the task of training a tagger.

    Args:
        config: its options.
        title: as the report begins.
        metrics: by name: cross_entropy, and those of `figures`.
        select: the metric that chooses the best checkpoint, and is reported.
        baselines: answers to held-out sentences by methods without a net.
        figures: computes metrics of answers.
        examples: formats answers.
        measure: computes arrays of answers to the test sentences.
    """
    text = config.text
    codes, model = text.codes, config.build(text.codes)
    made, longest = config.data.dir is None, text.longest
    bounds = [longest] if made else length_bounds(longest)
    coarse = [longest] if made else length_bounds(longest, least=20, growth=3.0)
    test = text.held_out("test", coarse)
    pair = () if codes.labels is None else (2,)

    def train(seed: int, rows: int) -> Batches:
        return bucket_batches(
            text.examples("train"), batch_size=rows, seed=seed, bounds=bounds, **process_shard()
        )

    def score(params: Params, batches: Sequence[Any]) -> Scores:
        assert isinstance(batches, HeldOut)
        trained = Trained(model, params, codes)
        found = trained.answers(batches)
        return Scores(figures(batches, found), examples(trained, batches, found))

    def measured(params: Params, batches: Sequence[Any]) -> Mapping[str, np.ndarray]:
        assert isinstance(batches, HeldOut)
        return measure(batches, Trained(model, params, codes).answers(batches))

    return Task(
        title=title,
        model=model,
        data=Data(
            train,
            lambda: text.held_out("valid", coarse),
            lambda: test,
            f"{len(test.sentences):,} test sentences",
            shapes=lambda rows: batch_shapes(codes.words, bounds[-1], rows, (bounds[-1], rows, *pair)),
        ),
        objective=Objective(TaggingLoss(model), TaggingEvaluation(model)),
        metrics=metrics,
        select=select,
        baselines={name: figures(test, answer(test)) for name, answer in baselines.items()},
        score=score,
        measure=measured,
        initial=lambda seed: config.initial(model, codes.words, seed),
        fingerprint={CODES: codes.digest},
    )


def train_tagger(config: TaggingConfig, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.text)
    print(config.text.text.summary(), flush=True)
    train = [sentence.words for sentence in config.text.text.splits["train"]]
    config.tell_known(config.text.codes.words, train)
    report = run_task(run, config.task(), config, label=config.label())
    draw_labelling(run.folder)
    return report
