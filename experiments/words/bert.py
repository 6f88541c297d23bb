"""Train a Transformer that sees both sides to fill in hidden words (BERT); a table of filled-in blanks.

Of each pair of spans 15 % of the words are chosen: 80 % of these are hidden, 10 % replaced, 10 % left. The second
span follows the first or stands elsewhere in the same document, which the net tells too. By default the prose of
Python's language reference; --preset books with --data.dir FOLDER takes about 45 minutes on 2 CPU cores. Devlin,
Chang, Lee & Toutanova 2019.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
from experiments.run_task import run_task
from experiments.task import Data, Metric, Scores, Task
from experiments.task_report import draw_task
from experiments.text_files import check_same_text, remember_text, save_tokenizer
from experiments.training import CELL_HELP, Flat
from experiments.words.bert_objective import BertEvaluation, BertLoss
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
BLANKS, GUESSES = 20, 3  # sentences of the table, and words for each blank


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
        jax.eval_shape(initial(task.model, self.length, 1), jax.random.key(0))

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
        document=200,
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


def bert_task(config: Config, corpus: Corpus) -> Task:
    """Builds the task of filling in hidden words and telling the next sentence."""
    vocabulary = corpus.tokenizer.vocabulary
    types, model = len(vocabulary), config.model(len(vocabulary))
    splits = {
        split: split_sentences(
            corpus.split(split),
            vocabulary.types,
            vocabulary.end_id,
            config.document,
            vocabulary.unknown_id,
            config.wrapped,
        )
        for split in ("train", "valid", corpus.held_out[-1])
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

    tested = held_out(corpus.held_out[-1])
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
        baselines={"the commonest word, always yes": simple_answers(splits["train"], tested, types)},
        score=lambda params, batches: Scores({}, blanks(config, corpus, splits, model, params)),
        score_every=config.loop.steps,
        score_from=config.loop.steps + 1,  # only at the end
        initial=lambda seed: jax.jit(initial(model, config.length, 1))(
            jax.random.fold_in(jax.random.key(seed), 1)
        ),
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


def blanks(
    config: Config,
    corpus: Corpus,
    splits: Mapping[str, Sentences],
    model: MaskedLanguageModel,
    params: Params,
) -> str:
    """Formats held-out sentences with a word hidden, that word, and the likeliest words for it."""
    text, names = splits[corpus.held_out[-1]], corpus.tokenizer.vocabulary.types
    types, rng, lines = len(names), np.random.default_rng(1), ["word hidden, likeliest words, sentence", ""]
    fill = jax.jit(lambda p, ids, mask, at: jnp.argsort(-words_at(model, p, ids, mask, at))[:GUESSES])
    sizes = np.diff(text.bounds)
    unknown = np.add.reduceat(text.ids == text.unknown, text.bounds[:-1])
    long = np.flatnonzero((sizes >= 6) & (sizes <= min(config.length - 2, 24)) & (unknown <= 1))
    for sentence in rng.permutation(long)[:BLANKS].tolist():
        words = text.ids[text.bounds[sentence] : text.bounds[sentence + 1]]
        known = np.flatnonzero(words[:-1] != text.unknown)  # without the full stop
        at = int(rng.choice(known))
        ids = np.zeros(config.length, np.int32)
        ids[: len(words) + 2] = [types, *words, types + 1]
        ids[at + 1] = types + 2
        guesses = fill(params, jnp.asarray(ids), jnp.arange(config.length) < len(words) + 2, at + 1)
        shown = [names[word] for word in words]
        answer, shown[at] = shown[at], "____"
        best = ", ".join(names[int(guess)] for guess in guesses)
        lines.append(f"{answer:<16}  {best:<40}  {' '.join(shown)}")
    return "\n".join(lines)


def words_at(model: MaskedLanguageModel, params: Params, ids: Any, mask: Any, at: Any) -> Any:
    """Computes the logits of the word at a place of one sequence `[T]`, `[V]`."""
    ys: Any = model.apply(params, ids[:, None], mask=mask[:, None])
    return model.apply(params, ys[at, 0], method="words")


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
