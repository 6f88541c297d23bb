"""The options of the experiments that train language models, and what is refused of them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import tyro

from data import Corpus, TextConfig, Tokenizer
from experiments.embedding import Embedding, EmbeddingFile, read_embedding
from experiments.footprint import Part, check_fits, nbytes
from experiments.harness.checks import (
    check_at_least,
    check_positive,
    check_seed,
)
from experiments.harness.errors import UserError
from experiments.health import check_health
from experiments.language.batches import Reading, check_lines, training_batches
from experiments.language.corpus import checked_corpus
from experiments.language.sampled_inputs import SampledInputs
from experiments.network import NetworkConfig
from experiments.pretrained.beginning import (
    FromRun,
    check_begins,
    check_same_vocabulary,
    net_of,
    run_given,
)
from experiments.pretrained.encoder_run import read_encoder_run
from experiments.text_files import check_same_text
from experiments.training import CELL_HELP, Flat
from models import LanguageModel, max_steps
from models.cell import Array, Params
from models.layers.dropout import check_rate
from models.layers.layer import is_causal
from train import LoopConfig, OptimizerConfig, create_state

ENDLESS = 1_000_000_000  # steps, where epochs say how long


@partial(jax.jit, static_argnums=0)
def init_params(model: LanguageModel, key: Array) -> Params:
    """Initialises the parameters of a model."""
    return model.init(key, jnp.zeros((1, 1), jnp.int32))


@dataclass(frozen=True)
class TextTraining:
    """The options of an experiment that trains language models, whatever their cell."""

    data: TextConfig = field(default_factory=TextConfig)
    hidden_size: int = 128
    """Units of the cell, H."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=NetworkConfig)
    embedding_size: int | None = None
    """Size of the embedding of a token; by default the number of units."""
    embedding: EmbeddingFile = None
    tied: bool = False
    """Share one matrix between the embedding and the output layer."""
    edge_dropout: float = 0.0
    """Dropout rate on the input of the first layer and the output of the last."""
    init_scale: float | None = None
    """Initialise all parameters uniformly in ± this; by default cells and layers use their own initialisers."""
    reading: Reading = "stream"
    """stream: running text in rows, the state carried between batches; lines: each line by itself, from zero;
    windows: random windows of --length tokens, each by itself, from zero; in char_lm they begin with the options of
    --preset gpt."""
    line_limit: int = 1000
    """With --reading lines: refuse lines of more tokens."""
    sampled_inputs: SampledInputs = field(default_factory=SampledInputs)
    length: int = 64
    """Steps of truncated backpropagation, T; the state is carried from batch to batch. With --reading windows the
    tokens of a window, the context."""
    batch_size: int = 32
    """Rows of text per batch, B."""
    loss_per: Literal["token", "row"] = "token"
    """Average the loss over tokens, or sum it over the steps and average over rows (T times as large)."""
    epochs: float | None = None
    """Stop after this many passes through the training text; if --steps is given too, at whichever comes first."""
    halve_from_epoch: int | None = None
    """Halve the learning rate at the start of this epoch (the first is 1) and of every later one."""
    eval_rows: int = 20
    """Rows in which held-out text is read during training (windows: all that fit)."""
    test_rows: int = 1
    """Rows in which held-out text is read at the end (windows: all that fit); 1 carries the state through all of
    it."""
    positions: int = 64
    """Positions after a zero state at which perplexity is reported; with --reading windows at most the length."""
    lags: int = 64
    """Steps back at which the gradient is measured; with --reading windows at most the length."""
    examples: int = 64
    """Segments of held-out text whose gradients are measured."""
    sample_tokens: int = 400
    """Tokens drawn at the end."""
    seed: int = 0
    """Seed of parameters, dropout and samples, and of the order of the lines or the places of the windows."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=200))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(learning_rate=3e-3))

    def __post_init__(self) -> None:
        check_at_least(1, hidden_size=self.hidden_size, length=self.length, batch_size=self.batch_size)
        check_at_least(1, eval_rows=self.eval_rows, test_rows=self.test_rows, line_limit=self.line_limit)
        check_at_least(2, positions=self.positions, lags=self.lags)
        check_at_least(1, examples=self.examples, sample_tokens=self.sample_tokens)
        check_seed(self.seed)
        if self.embedding_size is not None:
            check_at_least(1, embedding_size=self.embedding_size)
        if self.halve_from_epoch is not None:
            check_at_least(2, halve_from_epoch=self.halve_from_epoch)
        check_rate(self.edge_dropout)
        for name, number in (("init_scale", self.init_scale), ("epochs", self.epochs)):
            if number is not None:
                check_positive(**{name: number})
        if self.network.direction != "forward":
            raise UserError(
                "--direction",
                f"{self.network.direction} would see the word that it is to predict: take forward",
            )
        if self.loop.steps == ENDLESS and self.epochs is None:
            raise UserError("--steps", "has no end: give it, or --epochs")

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on another text."""
        check_same_text(folder, self.corpus)

    def longest(self, most: int) -> int:
        """Returns how many tokens to read from a state of zero, of `most`: no more than a window."""
        return min(most, self.length) if self.reading == "windows" else most

    @cached_property
    def corpus(self) -> Corpus:
        """Returns the corpus, loaded when first asked for. Raises ValueError if there is nothing to validate on."""
        return checked_corpus(self.data)

    def pretrained(self, tokenizer: Tokenizer) -> Embedding | None:
        """Returns the vectors of --embedding for a tokenizer's vocabulary."""
        if self.embedding is None:
            return None
        size = self.embedding_size or self.hidden_size
        return read_embedding(self.embedding, tokenizer.vocabulary, size, seed=self.seed)

    def as_default(self, given: Mapping[str, str]) -> "TextTraining":
        """Returns this config as the default beside the options `given` on the command line: epochs without steps
        end a run alone."""
        if given.get("--epochs", "None") == "None":
            return self
        endless = dataclasses.replace(self.loop, steps=ENDLESS)
        # The given number of epochs overrides this one.
        return dataclasses.replace(self, epochs=1.0, loop=endless)

    def resolved(self, batches_per_epoch: int) -> tuple[LoopConfig, OptimizerConfig]:
        """Resolves how long to train and at which rate, the length of an epoch being known."""
        loop = self.loop
        if self.reading == "lines":
            # Batches of one dispatch are padded to one length: one each, or there would be no use in buckets.
            loop = dataclasses.replace(loop, chunk=1)
        if self.epochs is not None:
            steps = min(loop.steps, max(1, round(self.epochs * batches_per_epoch)))
            loop = dataclasses.replace(loop, steps=steps)
        if self.halve_from_epoch is not None:
            begin = (self.halve_from_epoch - 1) * batches_per_epoch
            if begin >= loop.steps:
                raise UserError(
                    "--halve-from-epoch",
                    f"{self.halve_from_epoch} begins at step {begin}, but the run ends at step "
                    f"{loop.steps}: train longer, or give --halve-from-epoch None",
                )
        return loop, self.fitted_optimizer(batches_per_epoch)

    def fitted_optimizer(self, batches_per_epoch: int) -> OptimizerConfig:
        """Returns the optimizer with the schedule of `halve_from_epoch`, the length of an epoch being known."""
        if self.halve_from_epoch is None:
            return self.optimizer
        if self.optimizer.schedule != "constant":
            raise UserError(
                "--halve-from-epoch",
                f"is a schedule, --optimizer.schedule {self.optimizer.schedule} another: give one",
            )
        return dataclasses.replace(
            self.optimizer,
            schedule="exponential",
            decay_rate=0.5,
            staircase=True,
            decay_steps=batches_per_epoch,
            decay_begin=(self.halve_from_epoch - 2) * batches_per_epoch,
        )


@dataclass(frozen=True)
class TextModelConfig(TextTraining):
    """The options of an experiment that trains one language model."""

    preset: str | None = None
    """Options of a published or timed setting; options given explicitly override it."""
    cell: Annotated[str, tyro.conf.arg(help=CELL_HELP)] = "lstm"
    from_: FromRun = None
    stride: int | None = None
    """With --reading windows: held-out text is also read in overlapping windows, at the end, one every so many
    tokens, of which the last so many count, so that at least length - stride tokens precede each input. By default
    a quarter of the length; 1 is exact, and costs as many windows as tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride is not None:
            if self.reading != "windows":
                raise UserError("--stride", "belongs to --reading windows: give both, or neither")
            check_at_least(1, stride=self.stride)
            if self.stride > self.length:
                raise UserError(
                    "--stride",
                    f"{self.stride} is more than the {self.length} tokens of a window (--length), so that tokens "
                    "between windows would not be read: make it smaller",
                )

    def as_default(self, given: Mapping[str, str]) -> "TextTraining":
        """Returns this config as `TextTraining.as_default` does, with the net of the run of `--from`.

        Raises UserError as `run_given`."""
        config, run = super().as_default(given), run_given(given)
        if run is None:
            return config
        net = net_of(run, self.network)
        net["network"] = dataclasses.replace(net["network"], direction="forward")
        tied = run.config.get("tied", self.tied)
        return dataclasses.replace(config, tied=tied, embedding_size=run.embedding_size, **net)

    @property
    def window_stride(self) -> int:
        """Returns the tokens between the starts of the overlapping windows of held-out text."""
        return max(1, self.length // 4) if self.stride is None else self.stride

    def check(self) -> None:
        """Checks the options against the text and the shapes of the model, before a run is begun."""
        self.check_on(self.corpus)

    def check_on(self, corpus: Corpus) -> None:
        """Builds the model's shapes for a corpus, and checks the options against it."""
        model = self.model(corpus.tokenizer)
        if model.cell.couples_batch:
            raise UserError(
                "--cell", f"{self.cell} couples the rows of a batch, and these have no end: take another"
            )
        if not is_causal(model.cell):
            raise UserError(
                "--cell",
                f"{self.cell} would see the word that it is to predict: take one that reads forward only",
            )
        self.pretrained(corpus.tokenizer)
        params = init_params.eval_shape(model, jax.random.key(0))
        if self.from_ is not None:
            if self.embedding is not None:
                raise UserError("--embedding", "gives the embedding, as --from does: leave one of them out")
            check_same_vocabulary(read_encoder_run(self.from_), corpus.tokenizer)
            check_begins(params, read_encoder_run(self.from_))
        state = jax.eval_shape(lambda p: create_state(p, self.optimizer, jax.random.key(0)), params)
        most = max_steps(model.cell)
        if most is not None and self.reading != "windows":
            raise UserError(
                "--reading",
                f"{self.reading} can ask for any number of tokens, but {self.cell} has codes for {most} positions: "
                "take --reading windows, or position=rotary",
            )
        rows = 1 if self.reading == "windows" else self.batch_size
        steps = min(self.length, 1 + len(corpus.splits["train"]) // rows)
        tokens = jax.ShapeDtypeStruct((steps, 1), jnp.int32)
        jax.eval_shape(model.apply, params, tokens)  # a cell may refuse that many steps
        smaller = "a smaller --hidden-size or --embedding-size"
        logits = 4 * steps * self.batch_size * len(corpus.tokenizer.vocabulary)
        check_fits(
            {
                "parameters, gradient and optimizer": Part(nbytes(params) + nbytes(state), smaller),
                "the outputs of a batch": Part(logits, "a smaller --length or --batch-size"),
            }
        )
        if self.reading == "lines":
            check_lines(corpus, self.line_limit)
        batches = training_batches(corpus, self.reading, self.batch_size, self.length, self.seed)
        loop, optimizer = self.resolved(batches.batches_per_epoch)
        check_health(model.cell, loop)
        optimizer.for_run(loop.steps, loop.eval_every)
        tokens = min(len(corpus.splits[split]) for split in corpus.held_out)
        for option, rows in (("--eval-rows", self.eval_rows), ("--test-rows", self.test_rows)):
            if rows >= tokens:
                raise UserError(
                    option, f"{rows} are more than the {tokens} tokens of held-out text: take fewer"
                )

    def model(self, tokenizer: Tokenizer) -> LanguageModel:
        """Returns the model for a tokenizer's vocabulary."""
        return LanguageModel(
            self.network.build(self.cell, self.hidden_size),
            vocabulary_size=len(tokenizer.vocabulary),
            embedding_size=self.embedding_size or self.hidden_size,
            tied=self.tied,
            dropout=self.edge_dropout,
            method=self.network.way,
        )
