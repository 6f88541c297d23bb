"""Learn one vector a document by way of its sentences; beside it a net that reads and writes all in one row.

Words → sentences → document → sentences → words (Li, Luong & Jurafsky 2015), and an autoencoder of as many
parameters without sentences, trained for equal time: words in place, written freely, and the gradient from the
document's vector to each sentence. By default documents of three to five sentences of made tales; --preset books
with --data.dir PATH/gutenberg-books trains 20 minutes each on books.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro

from data import vocabulary_digest
from data.batch import Batches
from data.documents import (
    DocumentBatch,
    document_batches,
    document_bounds,
    held_out_documents,
)
from data.running_text import RunningConfig, load_running
from experiments.autoencoders import autoencoder
from experiments.autoencoders.documents import (
    DocumentEvaluation,
    DocumentLoss,
    DocumentText,
    decoded_documents,
    document_text,
)
from experiments.autoencoders.hierarchical_measure import of_net, parameters_of
from experiments.autoencoders.hierarchical_report import draw, format_table, results
from experiments.autoencoders.scores import METRICS, STATISTICS
from experiments.autoencoders.vectors import one_vector_model
from experiments.budgets import steps_in_time, width_of_size
from experiments.cell_spec import parse_cell
from experiments.corpus_score import CorpusScore
from experiments.encoder_decoder.search import SearchConfig
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_positive, check_seed
from experiments.harness.errors import UserError
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.objective import Objective
from experiments.run_task import Trained, run_tasks
from experiments.task import Data, Task, TrainingOptions
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from experiments.training import CELL_HELP, Flat
from models.layers.dropout import check_rate
from models.sentences.hierarchical import Hierarchical
from train import LoopConfig, OptimizerConfig

__all__ = ["Config", "draw", "main"]

SEVERAL_NETS = True  # one after another: what several processes can't share
TIMED = 1000  # steps of the schedule in which steps are timed
TOGETHER = 50  # documents of a held-out batch


@dataclass(frozen=True)
class Config:
    """Hierarchical autoencoder."""

    preset: str | None = None
    """Options of a timed setting on books; options given explicitly override it."""
    data: RunningConfig = field(default_factory=RunningConfig)
    fewest: int = 3
    """Fewest sentences of a document."""
    most: int = 5
    """Most sentences of a document."""
    cell: Annotated[str, tyro.conf.arg(help=f"The cell at every place: {CELL_HELP}.")] = "gru"
    hidden_size: int = 96
    """Units of each cell of the hierarchical net, H; the flat one has as many as make it as large."""
    embedding_size: int = 64
    """Size of the embedding of a piece."""
    dropout: float = 0.0
    """Dropout rate on embeddings and outputs."""
    minutes: float = 0.6
    """Minutes of training of each net."""
    rate: float = 4e-3
    """The highest learning rate."""
    search: Annotated[SearchConfig, Flat] = field(
        default_factory=lambda: SearchConfig(width=1, normalise="none")
    )
    batch_size: int = 32
    """Documents per step, B."""
    seed: int = 0
    """Seed of parameters and of the order of the training documents."""

    def __post_init__(self) -> None:
        sizes = ("fewest", "hidden_size", "embedding_size", "batch_size")
        check_at_least(1, **{name: getattr(self, name) for name in sizes})
        if self.most < self.fewest:
            raise UserError("--most", f"must be at least --fewest, {self.fewest}, but is {self.most}")
        check_positive(minutes=self.minutes, rate=self.rate)
        check_rate(self.dropout)
        check_seed(self.seed)

    @cached_property
    def text(self) -> DocumentText:
        """Returns the documents, loaded when first asked for."""
        return document_text(load_running(self.data), self.fewest, self.most)

    def check(self) -> None:
        """Checks the options against the documents and the shapes of the models, before a run is begun."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for a folder of books")
        for task in self.tasks.values():
            check_task_fits(task, self.options(TIMED))

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on another text."""
        check_same_text(folder, self.text)

    @cached_property
    def hierarchical(self) -> Hierarchical:
        """Builds the hierarchical net."""
        words = one_vector_model(self.flat_config(self.hidden_size), self.text.tokenizer)
        return Hierarchical(words, parse_cell(self.cell, self.hidden_size))

    def flat_config(self, hidden_size: int) -> autoencoder.Config:
        """Returns the options of an autoencoder of rows with so many units."""
        return autoencoder.Config(
            cell=self.cell,
            hidden_size=hidden_size,
            embedding_size=self.embedding_size,
            dropout=self.dropout,
            search=self.search,
            score_every=10**6,  # at the last evaluation alone
            batch_size=self.batch_size,
            seed=self.seed,
        )

    @cached_property
    def units(self) -> dict[str, int]:
        """Returns the units of both nets: those with which the flat one has nearest to the other's parameters."""

        def count(units: int) -> int:
            return parameters_of(one_vector_model(self.flat_config(units), self.text.tokenizer))

        flat = width_of_size(count, parameters_of(self.hierarchical))
        return {"hierarchical": self.hidden_size, "flat": flat}

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Returns the tasks by the names of the nets."""
        flat = autoencoder.autoencoder_task(self.flat_config(self.units["flat"]), self.text)
        return {"hierarchical": hierarchical_task(self), "flat": flat}

    def options(self, steps: int) -> TrainingOptions:
        """Returns the options of so many steps."""
        warmup = max(1, min(100, steps // 10))
        optimizer = OptimizerConfig(learning_rate=self.rate, schedule="warmup_cosine", warmup_steps=warmup)
        every = max(1, steps // 4)
        loop = LoopConfig(
            steps=steps, eval_every=every, save_every=every, log_every=max(1, steps // 40), chunk=1
        )
        return TrainingOptions(self.seed, self.batch_size, loop, optimizer)


def hierarchical_task(config: Config) -> Task:
    """Builds the task of the hierarchical net."""
    text, model = config.text, config.hierarchical
    examples = {split: text.examples(split) for split in text.documents}
    bounds = document_bounds(*examples.values())
    longest, sentences = bounds[-1]
    loss = DocumentLoss(model)

    def train(seed: int, rows: int) -> Batches:
        return document_batches(
            examples["train"], batch_size=rows, seed=seed, bounds=bounds, **process_shard()
        )

    def shapes(rows: int) -> DocumentBatch:
        size = (longest, sentences, rows)
        return DocumentBatch(*(jax.ShapeDtypeStruct(size, kind) for kind in (jnp.int32, jnp.bool_)))  # type: ignore

    def held_out(split: str) -> list[DocumentBatch]:
        rows = examples[split]
        return list(held_out_documents(rows, batch_size=min(TOGETHER, len(rows)), bounds=bounds).batches)

    limits = (sentences, longest + 10)
    return Task(
        title="hierarchical autoencoder",
        model=model,
        data=Data(train, partial(held_out, "valid"), partial(held_out, "test"), shapes=shapes),
        objective=Objective(loss, DocumentEvaluation(loss)),
        metrics=METRICS,
        select="exact",
        score=CorpusScore(partial(decoded_documents, model, text, limits, config.search.width), STATISTICS),
        score_every=10**6,
        score_from=1,
        fingerprint={"the pieces": vocabulary_digest(text.tokenizer)},
    )


BOOKS: dict[str, Any] = {
    "data": RunningConfig(longest=20, types=6000),
    "hidden_size": 384,
    "embedding_size": 192,
    "minutes": 20.0,
    "rate": 1e-3,
}
PRESETS: Mapping[str, Config] = {"books": Config(preset="books", **BOOKS)}


def main(config: Config, run: Run) -> str:
    """Times, trains and measures both nets, tabulates and draws; returns the table."""
    remember_text(run.folder, config.text)
    save_tokenizer(run.folder, config.text)
    print(config.text.summary(), flush=True)
    seconds = 60 * config.minutes
    options = {
        name: config.options(steps_in_time(run, name, task, config.options(TIMED), seconds))
        for name, task in config.tasks.items()
    }

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        own = {"units": config.units[name], "steps": options[name].loop.steps}
        return of_net(config.tasks[name], config.text, trained) | own

    nets = dict(run_tasks(run, config.tasks, options, measured))
    run.write_arrays("nets", {f"{name}|{key}": v for name, net in nets.items() for key, v in net.items()})
    nearest = config.tasks["flat"].baselines[autoencoder.NEAREST]
    table = format_table(nets, nearest, "nearest training document")
    run.write_table(table)
    draw(run.folder)
    run.finish(results(nets, nearest))
    return table
