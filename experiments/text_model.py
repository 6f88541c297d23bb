"""What the experiments that train language models share: options, the model, its loss, the training."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import tyro

from data import Corpus, StreamBatch, StreamBatches, TextConfig
from experiments.network import NetworkConfig
from experiments.processes import mine, only_first_goes_on, several
from experiments.run import Run, read_json, write_json
from experiments.text import checked_corpus
from experiments.text_measures import WholeText, whole_text
from experiments.training import CELL_HELP, Flat, Stopped
from models import LanguageModel, carried, initial_carry
from models.cell import Array, Params, State, at_least
from models.dropout import check_rate
from models.language_model import uniform_like
from train import (
    LoopConfig,
    OptimizerConfig,
    SumCount,
    batch_mesh,
    create_state,
    evaluated_params,
    fit,
    stop_on_signals,
)

SOURCES = "text.json"  # in the run's folder: what it was trained on
ENDLESS = 1_000_000_000  # steps, where epochs say how long


@dataclass(frozen=True)
class TextModelConfig:
    """The options of an experiment that trains a language model."""

    preset: str | None = None
    """Options of a published or timed setting, which those given beside it replace."""
    data: TextConfig = field(default_factory=TextConfig)
    cell: Annotated[str, tyro.conf.arg(help=CELL_HELP)] = "lstm"
    hidden_size: int = 128
    """Units of the cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    embedding_size: int | None = None
    """Numbers that a token is embedded in; by default as many as units."""
    tied: bool = False
    """One matrix for the embedding and the output layer."""
    edge_dropout: float = 0.0
    """Share of the units dropped of what the first layer reads and the last one gives, while training."""
    init_scale: float | None = None
    """Begin with every parameter drawn from ± this; by default as cells and layers begin by themselves."""
    length: int = 64
    """Steps of truncated backpropagation, T; the state is carried on from one batch to the next."""
    batch_size: int = 32
    """Rows that the text is read in at once, B."""
    loss_per: Literal["token", "row"] = "token"
    """What the loss is a mean over: of rows it is summed over the steps, T times as large."""
    epochs: float | None = None
    """Passes through the training text after which to end; --steps ends it before."""
    halve_from_epoch: int | None = None
    """Halve the learning rate at the beginning of this epoch, the first being 1, and of every one after it."""
    eval_rows: int = 20
    """Rows that held-out text is read in while training."""
    test_rows: int = 1
    """Rows that held-out text is read in at the end; 1 carries the state through all of it."""
    positions: int = 64
    """Tokens since a state of zero for which the perplexity is told."""
    lags: int = 64
    """Steps back for which the gradient is measured."""
    examples: int = 64
    """Pieces of held-out text whose gradients are measured."""
    sample_tokens: int = 400
    """Tokens drawn at the end."""
    seed: int = 0
    """Of parameters, dropout and samples; the text and its order don't depend on it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=200))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))

    def __post_init__(self) -> None:
        at_least(1, hidden_size=self.hidden_size, length=self.length, batch_size=self.batch_size)
        at_least(1, eval_rows=self.eval_rows, test_rows=self.test_rows)
        at_least(2, positions=self.positions, lags=self.lags)
        at_least(1, examples=self.examples, sample_tokens=self.sample_tokens)
        at_least(0, seed=self.seed)
        if self.embedding_size is not None:
            at_least(1, embedding_size=self.embedding_size)
        if self.halve_from_epoch is not None:
            at_least(2, halve_from_epoch=self.halve_from_epoch)
        check_rate(self.edge_dropout)
        for name, number in (("init-scale", self.init_scale), ("epochs", self.epochs)):
            if number is not None and not 0 < number < float("inf"):
                raise ValueError(f"--{name} must be above 0 and finite, but is {number}")
        if self.network.direction != "forward":
            raise ValueError(
                f"--direction {self.network.direction} would see the word that it is to predict: take forward"
            )
        if self.loop.steps == ENDLESS and self.epochs is None:
            raise ValueError("there is no end: give --epochs or --steps")

    def check(self) -> None:
        """Reads the text and builds the model's shapes: what is wrong is to be said before a run is begun."""
        if self.loop.health.every:
            raise ValueError(
                "--health.every is not for models of text yet, whose state goes from batch to batch: leave it out"
            )
        corpus = checked_corpus(self.data)
        model = self.model(corpus)
        if model.cell.couples_batch:
            raise ValueError(
                f"--cell {self.cell} couples the rows of a batch, and these have no end: take another"
            )
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
        batches = stream(corpus, "train", self.batch_size, self.length)
        self.resolved(batches.batches_per_epoch)
        for option, rows in (("eval-rows", self.eval_rows), ("test-rows", self.test_rows)):
            tokens = min(len(corpus.splits[split]) for split in corpus.splits if split != "train")
            if rows >= tokens:
                raise ValueError(
                    f"--{option} {rows} are more than the {tokens} tokens of held-out text: take fewer"
                )

    def model(self, corpus: Corpus) -> LanguageModel:
        """The model for a text's vocabulary."""
        return LanguageModel(
            self.network.build(self.cell, self.hidden_size),
            vocabulary_size=len(corpus.tokenizer.vocabulary),
            embedding_size=self.embedding_size or self.hidden_size,
            tied=self.tied,
            dropout=self.edge_dropout,
            method=self.network.way,
        )

    def resolved(self, batches_per_epoch: int) -> tuple[LoopConfig, OptimizerConfig]:
        """How long to train and at which rate, the length of an epoch being known."""
        loop, optimizer = self.loop, self.optimizer
        if self.epochs is not None:
            steps = min(loop.steps, max(1, round(self.epochs * batches_per_epoch)))
            loop = dataclasses.replace(loop, steps=steps)
        if self.halve_from_epoch is not None:
            if optimizer.schedule != "constant":
                raise ValueError(
                    f"--halve-from-epoch is a schedule, --optimizer.schedule {optimizer.schedule} another: give one"
                )
            optimizer = dataclasses.replace(
                optimizer,
                schedule="exponential",
                decay_rate=0.5,
                staircase=True,
                decay_steps=batches_per_epoch,
                decay_begin=(self.halve_from_epoch - 2) * batches_per_epoch,
            )
        return loop, optimizer


def stream(
    corpus: Corpus, split: str, rows: int, length: int, *, process_index: int = 0, process_count: int = 1
) -> StreamBatches:
    """A split as rows, or those that one of several processes reads. Where lines have end marks every token is
    predicted, the first after such a mark; else all but the first."""
    before = corpus.tokenizer.vocabulary.end_id
    return StreamBatches(
        corpus.split(split),
        batch_size=rows,
        length=length,
        before=before,
        process_index=process_index,
        process_count=process_count,
    )


@dataclass(frozen=True)
class StreamLoss:
    """The cross entropy of a batch, the state being carried from the one before: summed over steps for each row, or
    a mean over tokens. Equal for equal models, so compiled once."""

    model: LanguageModel
    per: Literal["token", "row"]

    def __call__(
        self, params: Params, carry: State, batch: StreamBatch, key: Array
    ) -> tuple[SumCount, tuple[State, dict[str, SumCount]]]:
        inputs, targets, mask, fresh = map(jnp.asarray, batch)
        state = carried(carry, fresh, initial_carry(self.model, params, fresh.shape))
        rngs = {"recurrent": key, "dropout": jax.random.fold_in(key, 1)}
        result = self.model.apply(
            params, inputs, targets, state, mask=mask, train=True, rngs=rngs, method="loss"
        )
        total, state = result  # type: ignore
        tokens = jnp.sum(mask, dtype=jnp.float32)
        count = tokens if self.per == "token" else jnp.sum(jnp.any(mask, axis=0), dtype=jnp.float32)
        return (total, count), (state, {"cross_entropy": (jax.lax.stop_gradient(total), tokens)})


@dataclass(frozen=True)
class TextLoss:
    """The cross entropy of a whole text, nats a token."""

    model: LanguageModel

    def __call__(self, params: Params, text: WholeText) -> dict[str, SumCount]:
        sums = text.scan(self.model, params, lambda losses: jnp.sum(losses))
        return {"cross_entropy": (jnp.sum(sums), jnp.sum(jnp.asarray(text.mask), dtype=jnp.float32))}


def initial(config: TextModelConfig, model: LanguageModel) -> Params:
    """Fresh parameters; the same seed gives the same ones on every machine."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    params = jax.jit(model.init)(key, jnp.zeros((1, 1), jnp.int32))
    return params if config.init_scale is None else uniform_like(params, key, config.init_scale)


def train_text_model(run: Run, config: TextModelConfig, corpus: Corpus) -> tuple[Params, Params]:
    """Trains a fresh model, or goes on with the one in the folder: its parameters before and after.

    Raises Stopped where a signal asked to stop, ValueError where the text isn't the one that a run was begun with.
    """
    corpus.save_tokenizer(run.folder)
    model = config.model(corpus)
    batches = stream(corpus, "train", config.batch_size, config.length, **mine())
    loop, optimizer = config.resolved(batches.batches_per_epoch)
    params = initial(config, model)
    carry = initial_carry(model, params, (config.batch_size,))
    with stop_on_signals() as stop:
        result = fit(
            create_state(params, optimizer, jax.random.key(config.seed), carry),
            loss_fn=StreamLoss(model, config.loss_per),
            eval_fn=TextLoss(model),
            mesh=batch_mesh(sharing(config.batch_size // several(), run.devices), processes="all"),
            optimizer=optimizer,
            batches=batches,
            validation=[whole_text(stream(corpus, "valid", config.eval_rows, config.length))],
            config=loop,
            folder=run.folder,
            resume=run.resumed,
            stop=stop,
            about=run.about,
            label=config.network.describe(config.cell),
        )
    if stop.requested:
        raise Stopped(run.folder, result.step, stop.signal)
    only_first_goes_on()
    # On one device: what is measured of them next would else be computed on each.
    return params, jax.device_put(evaluated_params(result.state), jax.local_devices()[0])


def sharing(rows: int, devices: int) -> int:
    """How many of the devices share a batch: as many as its rows divide over, for a carried state has no room for
    rows that are none. Where that isn't all, says so."""
    chosen = max(count for count in range(1, devices + 1) if rows % count == 0)
    if chosen < devices:
        print(f"{rows} rows are shared by {chosen} of {devices} devices, over which they divide", flush=True)
    return chosen


def remember_text(folder: Path, corpus: Corpus, *, resumed: bool) -> None:
    """Writes which files the text came from; on resuming, raises ValueError where they are others now."""
    path, now = folder / SOURCES, dict(corpus.origin)
    if resumed and path.is_file():
        before: dict[str, Any] = read_json(path)
        for name in before | now:
            if before.get(name) != now.get(name):
                raise ValueError(
                    f"{folder} was begun on another text ({name} differs): give the same one, or begin a new run"
                )
    write_json(path, now)
