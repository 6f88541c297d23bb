"""Learn one vector a sentence from which both neighbours are written; the next sentence among 100, neighbours.

By default sentences of short tales made from a seed. --preset books with --data.dir PATH/gutenberg-books reads
books; --probe PATH/rt-polarity tells classes of sentences by their vectors. Kiros et al. 2015, Skip-thought.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from data import PairBatch, PairExample, held_out_pairs, pair_batches, pair_bounds, vocabulary_digest
from data.batch import Batches
from data.running_text import RunningConfig, RunningText, load_running
from data.text.classified import find_classified_files
from experiments.autoencoders.skip_scores import (
    NeighbourEvaluation,
    NeighbourLoss,
    groups_of,
    neighbour_table,
    probe,
    rank,
    shared_words,
)
from experiments.autoencoders.vectors import encode_sentences, one_vector_model
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.network import Direction
from experiments.objective import Objective
from experiments.run_task import run_task
from experiments.task import Data, Metric, Scores, Task
from experiments.task_report import draw_task
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from experiments.training import CELL_HELP, Flat
from models import EncoderDecoder
from models.cell import Params
from models.layers.dropout import check_rate
from models.sentences.skip_thought import SkipThought, sides
from train import LoopConfig, OptimizerConfig

METRICS: Mapping[str, Metric] = {
    "cross_entropy": Metric("cross entropy of both neighbours (nats a piece)"),
    "next": Metric("next sentence first, by the decoder", ".1%", "higher"),
    "next_cosine": Metric("next sentence first, by the cosine", ".1%", "higher"),
}
TOGETHER = 50  # sentences of a held-out batch


@dataclass(frozen=True)
class Config:
    """The options of vectors of sentences by their neighbours."""

    preset: str | None = None
    """Options of a timed setting on books; options given explicitly override it."""
    data: RunningConfig = field(default_factory=RunningConfig)
    cell: Annotated[str, tyro.conf.arg(help=f"The cell of encoder and decoders: {CELL_HELP}.")] = "gru"
    hidden_size: int = 128
    """Units of the cells, H: with a GRU the size of the vector."""
    embedding_size: int = 64
    """Size of the embedding of a piece."""
    direction: Direction = "forward"
    """Direction in which the encoder reads; both maps two last states to one vector."""
    dropout: float = 0.0
    """Dropout rate on embeddings and outputs."""
    groups: int = 2
    """Groups of 100 held-out sentences in which the next one is sought."""
    probe: Path | None = None
    """A folder of sentences with a class each, whose classes are told by their vectors and, beside them, by the
    means of the vectors of their pieces."""
    batch_size: int = 32
    """Sentences per step, B."""
    seed: int = 0
    """Seed of parameters and of the order of the training sentences."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1000, eval_every=250, save_every=250, chunk=1)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=4e-3, schedule="warmup_cosine", warmup_steps=30)
    )

    def __post_init__(self) -> None:
        sizes = ("hidden_size", "embedding_size", "batch_size", "groups")
        check_at_least(1, **{name: getattr(self, name) for name in sizes})
        check_rate(self.dropout)
        check_seed(self.seed)

    @cached_property
    def text(self) -> RunningText:
        """Returns the sentences and their pieces, loaded when first asked for."""
        return load(self.data)

    def check(self) -> None:
        """Checks the options against the sentences and the shapes of the model, before a run is begun."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for a folder of books")
        if self.probe is not None:
            if not self.probe.is_dir():
                raise UserError("--probe", f"must be a folder of classified sentences; {self.probe} is none")
            find_classified_files(self.probe)
        if self.loop.health.every:
            raise UserError(
                "--health.every", "looks into one recurrence, and this model has three: leave it out"
            )
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        check_task_fits(skip_task(self, self.text), self)

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other sentences."""
        check_same_text(folder, self.text)

    def build(self, text: RunningText) -> EncoderDecoder:
        """Builds the encoder with one of the decoders."""
        return one_vector_model(self, text.tokenizer)


@lru_cache(maxsize=1)
def load(data: RunningConfig) -> RunningText:
    """Loads sentences once for equal options."""
    return load_running(data)


def skip_task(config: Config, text: RunningText) -> Task:
    """Builds the task."""
    pair = config.build(text)
    examples = {split: examples_of(text, split) for split in text.chains}
    bounds = pair_bounds(*examples.values(), first=16, growth=2.0)
    most = max(len(row) for split in text.splits for row in text.encode(text.splits[split]))
    loss = NeighbourLoss(pair, most)
    groups = {split: groups_of(text, split, config.groups) for split in ("valid", "test")}
    ranked = {split: [pairs_of(text, group) for group in found] for split, found in groups.items()}

    def train(seed: int, rows: int) -> Batches:
        return pair_batches(examples["train"], batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def shapes(rows: int) -> PairBatch:
        (length, targets), kinds = bounds[-1], (jnp.int32, jnp.bool_)
        sides_of = [jax.ShapeDtypeStruct((n, rows), kind) for n in (length, targets) for kind in kinds]
        return PairBatch(*sides_of)  # type: ignore[arg-type]

    def held_out(split: str) -> list[PairBatch]:
        rows = examples[split]
        return list(held_out_pairs(rows, batch_size=min(TOGETHER, len(rows)), bounds=bounds).batches)

    tests = [held_out("valid"), held_out("test")]

    def score(params: Params, batches: Sequence[Any]) -> Scores:
        tested = batches is tests[1]
        found = rank(pair, params, ranked["test" if tested else "valid"], decoded=tested)
        return Scores(found, tables(config, text, pair, params) if tested else "")

    chance = float(np.mean([1 / len(group) for group in groups["test"]]))
    return Task(
        title="skip-thought",
        model=SkipThought(pair),
        data=Data(
            train,
            lambda: tests[0],
            lambda: tests[1],
            f"{len(groups['test'])} × {len(groups['test'][0])} test sentences",
            shapes=shapes,
        ),
        objective=Objective(loss, NeighbourEvaluation(loss)),
        metrics=METRICS,
        select="cross_entropy",
        report="next_cosine",
        baselines={
            "chance": {"next": chance, "next_cosine": chance},
            "shared words": {"next_cosine": shared_words(text, groups["test"])},
        },
        score=score,
        fingerprint={"the pieces": vocabulary_digest(text.tokenizer)},
    )


def examples_of(text: RunningText, split: str) -> list[PairExample]:
    """Returns each sentence that has neighbours on both sides; its target are the two in a row."""
    threes = text.triples(split)
    before, middle, after = (text.encode(side) for side in zip(*threes, strict=True))
    return [PairExample(own, np.concatenate([a, b])) for a, own, b in zip(before, middle, after, strict=True)]


def pairs_of(text: RunningText, group: Sequence[tuple[str, str]]) -> list[PairExample]:
    """Encodes sentences with their next ones."""
    one, other = (text.encode(side) for side in zip(*group, strict=True))
    return [PairExample(*two) for two in zip(one, other, strict=True)]


def tables(config: Config, text: RunningText, pair: EncoderDecoder, params: Params) -> str:
    """Formats nearest sentences and, where it is asked for, the probe."""
    _, after = sides(params)
    embedding = np.asarray(after["params"]["reader"]["embedding"])

    def vectors(sentences: Sequence[str]) -> np.ndarray:
        return encode_sentences(pair, after, text.encode(sentences))

    def means(sentences: Sequence[str]) -> np.ndarray:
        return np.stack([embedding[ids].mean(axis=0) for ids in text.encode(sentences)])

    found = neighbour_table(text, vectors)
    if config.probe is None:
        return found
    features = {"vectors of sentences": vectors, "means of pieces": means}
    return f"{found}\n\n{probe(config.probe, features)}"


BOOKS: dict[str, Any] = {
    "data": RunningConfig(types=8000),
    "hidden_size": 400,
    "embedding_size": 200,
    "loop": LoopConfig(steps=4000, eval_every=1000, save_every=1000, log_every=50, chunk=1),
    "optimizer": OptimizerConfig(learning_rate=1e-3, schedule="warmup_cosine", warmup_steps=100),
}
PRESETS: Mapping[str, Config] = {"books": Config(preset="books", **BOOKS)}


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.text)
    print(config.text.summary(), flush=True)
    label = f"{config.cell}, {config.hidden_size} units"
    return run_task(run, skip_task(config, config.text), config, label=label)


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    return draw_task(folder, METRICS, "next_cosine")
