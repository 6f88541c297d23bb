"""Learn one vector a sentence from which the sentence can be written again; exact sentences by length, neighbours.

By default sentences of a small grammar, which are made from a key; --data.dir FOLDER with --data.ending en reads a
sentence a line. The decoder runs freely and sees nothing of the sentence but the vector. --dropped and --shuffled
damage what is read in training. The preset multi30k, with --data.dir PATH/multi30k, trains 15 minutes on 2 cores.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from data import PairBatch, PairExample, held_out_pairs, pair_batches, pair_bounds, vocabulary_digest
from data.batch import Batches
from data.sentence_text import SentencesConfig, SentenceText, load_sentences
from experiments.autoencoders.corrupted import CorruptedLoss
from experiments.autoencoders.scores import (
    METRICS,
    STATISTICS,
    SentenceScore,
    by_length,
    nearest_sentences,
    score,
    tables,
)
from experiments.autoencoders.vectors import one_vector_model
from experiments.corpus_score import Decoded
from experiments.encoder_decoder.objective import PairEvaluation, PairLoss
from experiments.encoder_decoder.search import SearchConfig, search_targets
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.files import read_arrays
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.network import Direction
from experiments.objective import Objective
from experiments.run_task import run_task
from experiments.task import Data, Task
from experiments.task_report import draw_task
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from experiments.training import CELL_HELP, Flat
from models import EncoderDecoder
from models.cell import Params
from models.layers.dropout import check_rate
from train import LoopConfig, OptimizerConfig

NEAREST = "the most similar training sentence"
VOCABULARY = "the pieces"  # their digest in checkpoints, beside the options
TOGETHER = 100  # sentences of a held-out batch
FIRST, GROWTH = 16, 2.0  # bounds of buckets: each is compiled by itself


@dataclass(frozen=True)
class Config:
    """The options of an autoencoder of sentences."""

    preset: str | None = None
    """Options of a timed setting on real sentences; options given explicitly override it."""
    data: SentencesConfig = field(default_factory=SentencesConfig)
    cell: Annotated[str, tyro.conf.arg(help=f"The cell of encoder and decoder: {CELL_HELP}.")] = "gru"
    hidden_size: int = 160
    """Units of the decoder's cell, H: with a GRU the size of the vector."""
    embedding_size: int = 64
    """Size of the embedding of a piece."""
    direction: Direction = "forward"
    """Direction in which the encoder reads; both maps two last states to one vector."""
    dropped: float = 0.0
    """Leave out each piece that the encoder reads in training with this probability."""
    shuffled: int = 0
    """Move each piece that the encoder reads in training by up to so many places."""
    dropout: float = 0.0
    """Dropout rate on embeddings and outputs."""
    search: Annotated[SearchConfig, Flat] = field(
        default_factory=lambda: SearchConfig(width=1, normalise="none")
    )
    batch_size: int = 64
    """Sentences per step, B."""
    score_every: int = 1
    """Write the validation sentences again at every N-th evaluation, and at the last."""
    seed: int = 0
    """Seed of parameters and of the order of the training sentences."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=2000, eval_every=500, save_every=500, chunk=1)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=4e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        sizes = ("hidden_size", "embedding_size", "batch_size", "score_every")
        check_at_least(1, **{name: getattr(self, name) for name in sizes})
        check_at_least(0, shuffled=self.shuffled)
        check_rate(self.dropout)
        if not 0 <= self.dropped < 1:
            raise UserError("--dropped", f"must be at least 0 and below 1, but is {self.dropped}")
        check_seed(self.seed)

    @cached_property
    def text(self) -> SentenceText:
        """Returns the sentences and their pieces, loaded when first asked for."""
        return load(self.data)

    def check(self) -> None:
        """Checks the options against the sentences and the shapes of the model, before a run is begun."""
        if self.preset is not None and self.data.dir is None:
            raise UserError(
                "--data.dir", f"is missing: --preset {self.preset} is for the sentences of files in a folder"
            )
        if self.loop.health.every:
            raise UserError(
                "--health.every", "looks into one recurrence, and an autoencoder has two: leave it out"
            )
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        check_task_fits(autoencoder_task(self, self.text), self)

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other sentences."""
        check_same_text(folder, self.text)

    def build(self, text: SentenceText) -> EncoderDecoder:
        """Builds the model."""
        return one_vector_model(self, text.tokenizer)


@lru_cache(maxsize=1)
def load(data: SentencesConfig) -> SentenceText:
    """Loads sentences once for equal options."""
    return load_sentences(data)


class HeldOut(list[PairBatch]):
    """Held-out batches, which know the sentences in them, in their order."""

    def __init__(self, text: SentenceText, split: str) -> None:
        examples = examples_of(text, split)
        bounds = pair_bounds(examples, first=FIRST, growth=GROWTH)
        together = min(TOGETHER, len(examples))
        batches = held_out_pairs(examples, batch_size=together, bounds=bounds)
        super().__init__(batches.batches)
        order: list[int] = batches.order.tolist()
        self.sentences = [text.splits[split][place] for place in order]


def examples_of(text: SentenceText, split: str) -> list[PairExample]:
    """Returns each sentence as its own target."""
    return [PairExample(ids, ids) for ids in text.encode(text.splits[split])]


def autoencoder_task(config: Config, text: SentenceText) -> Task:
    """Builds the task."""
    model = config.build(text)
    bounds = pair_bounds(*(examples_of(text, split) for split in text.splits), first=FIRST, growth=GROWTH)

    def train(seed: int, rows: int) -> Batches:
        examples = examples_of(text, "train")
        return pair_batches(examples, batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    def shapes(rows: int) -> PairBatch:
        ids, mask = (jax.ShapeDtypeStruct((bounds[-1][0], rows), kind) for kind in (jnp.int32, jnp.bool_))
        return PairBatch(*(ids, mask, ids, mask))  # type: ignore[arg-type]

    def decode(params: Params, batch: PairBatch) -> Iterator[Decoded]:
        best = search_targets(model, params, [batch], config.search)
        lengths = np.asarray(batch.mask).sum(axis=0).tolist()
        rows = [
            row[: n - 1] for row, n in zip(np.asarray(batch.inputs).T.tolist(), lengths, strict=True) if n
        ]
        for (found, *_), ids in zip(best, rows, strict=True):
            yield Decoded(text.tokenizer.decode(found.ids), text.tokenizer.decode(ids))

    def measured(params: Params, batches: Sequence[Any]) -> Mapping[str, np.ndarray]:
        return by_length([output for batch in batches for output in decode(params, batch)])

    return Task(
        title="autoencoder",
        model=model,
        data=Data(
            train,
            partial(HeldOut, text, "valid"),
            partial(HeldOut, text, "test"),
            f"{len(text.splits['test']):,} test sentences",
            shapes=shapes,
        ),
        objective=Objective(
            CorruptedLoss(PairLoss(model), config.dropped, config.shuffled), PairEvaluation(model)
        ),
        metrics=METRICS,
        select="exact",
        baselines={NEAREST: score(nearest_sentences(text), text.splits["test"])},
        score=SentenceScore(
            decode, STATISTICS, examples=5, tables=partial(tables, config.search, model, text)
        ),
        score_every=config.score_every,
        score_from=1,
        measure=measured,
        fingerprint={VOCABULARY: vocabulary_digest(text.tokenizer)},
    )


MULTI30K: dict[str, Any] = {
    "data": SentencesConfig(ending="en", types=6000),
    "hidden_size": 512,
    "embedding_size": 256,
    "dropout": 0.1,
    "loop": LoopConfig(steps=4500, eval_every=900, save_every=900, log_every=50, chunk=1),
    "optimizer": OptimizerConfig(learning_rate=1e-3, schedule="warmup_cosine", warmup_steps=100),
}
PRESETS: Mapping[str, Config] = {"multi30k": Config(preset="multi30k", **MULTI30K)}


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.text)
    print(config.text.summary(), flush=True)
    label = f"{config.cell}, {config.hidden_size} units"
    report = run_task(run, autoencoder_task(config, config.text), config, label=label)
    draw_lengths(run.folder)
    return report


def draw_lengths(folder: Path) -> list[Path]:
    """Draws scores against the words of a sentence."""
    from analysis.figures.style import save
    from analysis.sentences.figures import scores_against_words

    found = read_arrays(folder, "measured")
    scores = {METRICS[name].label: found[name] for name in STATISTICS}
    bounds = range(1, len(found["exact"]) + 2)
    return save(scores_against_words(scores, bounds, "share"), folder / "figures", "by_length")


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return [*draw_task(folder, METRICS, "exact"), *draw_lengths(folder)]
