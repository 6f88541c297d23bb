"""Train a Transformer that sees both sides to fill in hidden words (BERT); a table of filled-in blanks.

Of each pair of spans 15 % of the words are chosen: 80 % of these are hidden, 10 % replaced, 10 % left. The second
span follows the first or stands elsewhere in the same document, which the net tells too. By default the prose of
Python's language reference; --preset books with --data.dir FOLDER takes about 45 minutes on 2 CPU cores. Devlin,
Chang, Lee & Toutanova 2019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from data import (
    Corpus,
    MaskedBatch,
    MaskedBatches,
    Sentences,
    TextConfig,
    load_corpus,
    masked_batch,
    split_sentences,
    vocabulary_digest,
)
from experiments.harness.checks import check_at_least, check_between, check_seed
from experiments.harness.errors import UserError
from experiments.harness.processes import process_shard
from experiments.harness.run import Run
from experiments.network import NetworkConfig
from experiments.objective import Objective
from experiments.pretrained.beginning import (
    FromRun,
    begin_with,
    check_begins,
    check_same_vocabulary,
    net_of,
    run_given,
)
from experiments.pretrained.encoder_run import read_encoder_run
from experiments.run_task import run_task
from experiments.task import Data, Metric, Scores, Task
from experiments.task_report import draw_task
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from experiments.training import CELL_HELP, Flat
from experiments.words.bert_objective import BertEvaluation, BertLoss
from experiments.words.blanks import blanks
from experiments.words.shared_words import shared_words
from models import MaskedLanguageModel
from models.cell import Params
from models.layers.dropout import check_rate
from train import LoopConfig, OptimizerConfig

VOCABULARY = "the vocabulary"  # its digest in checkpoints, beside the options
METRICS = {
    "masked_accuracy": Metric("accuracy on hidden words", ".1%", "higher"),
    "masked_cross_entropy": Metric("cross entropy of hidden words (nats)", ".3f"),
    "next_accuracy": Metric("accuracy of the next sentence", ".1%", "higher"),
    "next_cross_entropy": Metric("cross entropy of the next sentence (nats)", ".3f"),
}
HELD_OUT, TOGETHER = 10, 50  # batches of pairs, the same for every seed


@dataclass(frozen=True)
class Config:
    """BERT."""

    preset: str | None = None
    """Options of a timed setting; options given explicitly override it."""
    data: TextConfig = field(default_factory=TextConfig)
    cell: Annotated[str, tyro.conf.arg(help=CELL_HELP)] = "transformer(layers=2, heads=4)"
    hidden_size: int = 128
    """Units of the layer, H, and size of the embedding of a token."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=lambda: NetworkConfig(direction="both"))
    from_: FromRun = None
    edge_dropout: float = 0.1
    """Dropout rate on the embeddings."""
    length: int = 64
    """Most tokens of a pair of spans with its three marks, T."""
    share: float = 0.15
    """Share of the words of a pair that are chosen."""
    document: int = 50
    """Sentences in a row that are a document: a second span that doesn't follow is of the same one."""
    wrapped: bool = False
    """Lines are broken within sentences, as those of books: sentences end at full stops alone."""
    batch_size: int = 32
    """Pairs per step, B."""
    seed: int = 0
    """Seed of parameters and of the pairs and hidden words; held-out ones don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=1500, eval_every=250, save_every=250)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            name="adamw", learning_rate=1e-3, schedule="warmup_cosine", warmup_steps=100
        )
    )

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, batch_size=self.batch_size)
        check_at_least(8, length=self.length)
        check_at_least(4, document=self.document)
        check_between(0, 1, share=self.share)
        check_seed(self.seed)
        try:
            check_rate(self.edge_dropout)
        except ValueError as error:
            raise UserError("--edge-dropout", f"{self.edge_dropout}: {error}") from None

    def as_default(self, given: Mapping[str, str]) -> "Config":
        """Returns this config as the default beside the options `given` on the command line: the net is that of the
        run of `--from`, in both directions. Raises UserError as `run_given`."""
        run = run_given(given)
        if run is None:
            return self
        net = net_of(run, self.network)
        return replace(self, **net | {"network": replace(net["network"], direction="both")})

    @cached_property
    def corpus(self) -> Corpus:
        """Returns the text, loaded when first asked for. Raises UserError for one in characters or bytes."""
        if self.data.unit not in ("word", "bpe"):
            raise UserError("--data.unit", f"{self.data.unit} has no words to hide: take word or bpe")
        return load_corpus(self.data)

    def check(self) -> None:
        """Raises ValueError for a text or a network that doesn't fit, before the run's folder is made."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        if self.loop.health.every:
            raise UserError("--health.every", "looks into a recurrence, and this net has none: leave it out")
        task = bert_task(self, self.corpus)
        shapes = jax.eval_shape(initial(task.model, self.length, 1), jax.random.key(0))
        if self.from_ is not None:
            check_same_vocabulary(read_encoder_run(self.from_), self.corpus.tokenizer)
            check_begins(shapes, read_encoder_run(self.from_))

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on another text."""
        check_same_text(folder, self.corpus)

    def model(self, types: int) -> MaskedLanguageModel:
        """Builds the model for a vocabulary of so many types."""
        layer = self.network.build(self.cell, self.hidden_size)
        if layer.couples_batch:
            raise UserError("--cell", f"{self.cell} couples the pairs of a batch: take another")
        return MaskedLanguageModel(layer, types, self.hidden_size, dropout=self.edge_dropout)


PRESETS: Mapping[str, Config] = {
    "books": Config(
        preset="books",
        data=TextConfig(unit="bpe", bpe_size=8000, test_share=0.05, valid_share=0.05),
        cell="transformer(layers=4, heads=4)",
        hidden_size=192,
        length=256,  # short spans share too few words to tell which follows
        document=2000,
        batch_size=8,
        wrapped=True,
        loop=LoopConfig(steps=9000, eval_every=1000, save_every=1000, log_every=50),
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=1e-3, schedule="warmup_cosine", warmup_steps=500
        ),
    )
}


def initial(model: Any, length: int, rows: int) -> Any:
    """Returns a function from a key to parameters of all parts of a model."""
    ids, places = jnp.zeros((length, rows), jnp.int32), jnp.zeros((1, rows), jnp.int32)
    return lambda key: model.init(key, ids, ids, places, method="answers")


def first_params(config: Config, model: MaskedLanguageModel, seed: int) -> Params:
    """Draws the parameters of all parts of a model; those of the run of --from are put in their place."""
    params = jax.jit(initial(model, config.length, 1))(jax.random.fold_in(jax.random.key(seed), 1))
    if config.from_ is None:
        return params
    params, text = begin_with(params, read_encoder_run(config.from_), whole=True)
    print(text, flush=True)
    return params


def bert_task(config: Config, corpus: Corpus) -> Task:
    """Builds the task of filling in hidden words and telling the next sentence."""
    vocabulary, held = corpus.tokenizer.vocabulary, corpus.held_out[-1]
    names, types, model = vocabulary.types, len(vocabulary), config.model(len(vocabulary))
    splits = {
        split: split_sentences(
            corpus.split(split),
            names,
            vocabulary.end_id,
            config.document,
            vocabulary.unknown_id,
            config.wrapped,
        )
        for split in ("train", "valid", held)
    }

    def train(seed: int, rows: int) -> Any:
        return MaskedBatches(
            splits["train"],
            types,
            batch_size=rows,
            length=config.length,
            seed=seed,
            share=config.share,
            **process_shard(),
        )

    def held_out(split: str) -> list[MaskedBatch]:
        rng = np.random.default_rng(0)
        size = {"rows": TOGETHER, "length": config.length, "share": config.share}
        return [masked_batch(splits[split], types, rng, **size) for _ in range(HELD_OUT)]

    tested = held_out(held)
    told = shared_words(splits["train"], types, held_out("train"), tested)
    return Task(
        title="BERT",
        model=model,
        data=Data(
            train,
            lambda: held_out("valid"),
            lambda: tested,
            f"{sum(int(batch.chosen.sum()) for batch in tested):,} hidden words of held-out text",
        ),
        objective=Objective(BertLoss(model), BertEvaluation(model)),
        metrics=METRICS,
        select="masked_cross_entropy",
        report="masked_accuracy",
        baselines={
            "the commonest word, always yes": simple_answers(splits["train"], tested, types),
            "shared words": {"next_accuracy": told},
        },
        score=lambda params, batches: Scores({}, blanks(splits[held], names, model, params, config.length)),
        score_every=config.loop.steps,
        score_from=config.loop.steps + 1,  # only at the end
        initial=partial(first_params, config, model),
        fingerprint={VOCABULARY: vocabulary_digest(corpus.tokenizer)},
    )


def simple_answers(train: Sentences, batches: Sequence[MaskedBatch], types: int) -> dict[str, float]:
    """Returns what the frequencies of the training text reach, and always the same answer to the next sentence."""
    counts = np.bincount(train.ids, minlength=types) + 1.0
    answers = np.concatenate([batch.answers[batch.chosen] for batch in batches])
    follows = np.concatenate([batch.follows for batch in batches])
    share = follows.mean()
    return {
        "masked_accuracy": float(np.mean(answers == counts.argmax())),
        "masked_cross_entropy": float(-np.log(counts / counts.sum())[answers].mean()),
        "next_accuracy": float(max(share, 1 - share)),
        "next_cross_entropy": float(np.log(2)),
    }


def main(config: Config, run: Run) -> str:
    """Trains, tests, fills in blanks and draws; returns the report."""
    remember_text(run.folder, config.corpus)
    save_tokenizer(run.folder, config.corpus)
    print(config.corpus.summary(), flush=True)
    label = config.network.describe(config.cell)
    return run_task(run, bert_task(config, config.corpus), config, label=label)


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run, from its arrays."""
    return draw_task(folder, METRICS, "masked_accuracy")
