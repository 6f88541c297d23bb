"""The options of parsing, and the models that they choose."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tyro

from data import TreesConfig, length_bounds, pair_bounds
from experiments.encoder_decoder.search import SearchConfig
from experiments.encoder_decoder.systems import ModelConfig, ScoreName
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.network import NetworkConfig
from experiments.parsing.codes import TreeCodes, load_codes
from experiments.task import TrainingOptions
from experiments.text_files import check_same_text
from experiments.training import CELL_HELP, Flat
from models import EncoderDecoder, Tagger, TagReader, TokenReader, TokenWriter, WordReader
from models.layers.dropout import check_rate
from train import LoopConfig, OptimizerConfig

System = Literal["labels", "sequence"]
NAMES = {"labels": "labels of words", "sequence": "sequence of brackets"}
FIRST, GROWTH = 30, 2.0  # bounds of buckets: each is compiled by itself


@dataclass(frozen=True)
class ParserConfig:
    """The parts and sizes of the parsers.

    Raises ValueError for a number outside its range.
    """

    cell: Annotated[str, tyro.conf.arg(help=f"The cell of encoder and decoder: {CELL_HELP}.")] = "lstm"
    hidden_size: int = 96
    """Units of the cell in each direction, H."""
    depth: int = 1
    """Layers of the cell in both directions that read the sentence; the decoder of sequence has one."""
    embedding_size: int = 64
    """Size of the embedding of a word, and of a bracket that the decoder reads and predicts."""
    tag_size: int = 32
    """Size of the embedding of a word's tag, which is given."""
    attention: Literal["recurrence", "outputs"] = "outputs"
    """The decoder of sequence attends with its outputs (Luong et al. 2015), or in the recurrence, the context an
    input of the next step (Bahdanau et al. 2015), which is slower."""
    score: ScoreName = "additive"
    """The score of its attention."""
    word_dropout: float = 0.1
    """The share of training words that count as unknown, so that unknown words are learned."""
    dropout: float = 0.2
    """Dropout rate of vectors and outputs."""

    def __post_init__(self) -> None:
        sizes = ("hidden_size", "depth", "embedding_size", "tag_size")
        check_at_least(1, **{name: getattr(self, name) for name in sizes})
        for rate in (self.word_dropout, self.dropout):
            check_rate(rate)

    def reader(self, codes: TreeCodes) -> WordReader:
        """Builds the reader of words and their tags."""
        tags = TagReader(TokenReader(len(codes.symbols), self.tag_size))
        return WordReader(
            TokenReader(len(codes.words.vocabulary), self.embedding_size), tags, self.word_dropout
        )

    def tagger(self, codes: TreeCodes) -> Tagger:
        """Builds the model that labels words."""
        layer = NetworkConfig(depth=self.depth, direction="both").build(self.cell, self.hidden_size)
        return Tagger(self.reader(codes), layer, len(codes.labels), dropout=self.dropout)

    def encoder_decoder(self, codes: TreeCodes) -> EncoderDecoder:
        """Builds the model that writes brackets."""
        parts = ModelConfig(
            cell=self.cell,
            hidden_size=self.hidden_size,
            embedding_size=self.embedding_size,
            attention=self.attention,
            score=self.score,
            dropout=self.dropout,
        )
        encoder, decoder = parts.recurrent("attention")
        if self.depth > 1:
            encoder = NetworkConfig(depth=self.depth, direction="both").build(self.cell, self.hidden_size)
        end = codes.symbols.end_id
        assert end is not None
        writer = TokenWriter(len(codes.symbols), self.embedding_size, end=end, tied=True)
        return EncoderDecoder(encoder, decoder, self.reader(codes), writer, dropout=self.dropout)


@dataclass(frozen=True)
class ParsingConfig:
    """The options of an experiment that trains parsers."""

    preset: str | None = None
    """Options of a timed setting on real trees; options given explicitly override it."""
    system: Literal["all", "labels", "sequence"] = "all"
    """The parsers to train, one after another. labels: a label a word, which together are a tree (Gómez-Rodríguez &
    Vilares 2018); sequence: the brackets one after another (Vinyals, Kaiser et al. 2015)."""
    data: TreesConfig = field(default_factory=TreesConfig)
    model: Annotated[ParserConfig, Flat] = field(default_factory=ParserConfig)
    search: Annotated[SearchConfig, Flat] = field(
        default_factory=lambda: SearchConfig(width=4, normalise="none")
    )
    batch_size: int = 32
    """Sentences per step, B."""
    score_every: int = 1
    """Parse the validation sentences at every N-th evaluation, and at the last."""
    examples: int = 4
    """Test sentences whose trees are drawn."""
    seed: int = 0
    """Seed of parameters and of the order of the training sentences."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=800, eval_every=200, save_every=200, chunk=1)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=4e-3, schedule="warmup_cosine", warmup_steps=20)
    )

    def __post_init__(self) -> None:
        check_at_least(1, batch_size=self.batch_size, score_every=self.score_every, examples=self.examples)
        check_seed(self.seed)

    @property
    def systems(self) -> tuple[System, ...]:
        """Returns the parsers to train."""
        return get_args(System) if self.system == "all" else (self.system,)

    @cached_property
    def codes(self) -> TreeCodes:
        """Returns the trees and their ids, loaded when first asked for."""
        return load(self.data)

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other trees."""
        check_same_text(folder, self.codes)

    def check_options(self) -> None:
        """Raises ValueError for options that don't fit one another."""
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for the trees in a folder")
        if self.loop.health.every:
            raise UserError(
                "--health.every",
                "looks into a cell that reads the inputs, and a parser's reads words: leave it out",
            )
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)

    def training(self) -> TrainingOptions:
        """Returns the options of training each parser; a dispatch has one batch, since its sentences are padded to
        the length of their bucket."""
        loop = dataclasses.replace(self.loop, chunk=1)
        return TrainingOptions(self.seed, self.batch_size, loop, self.optimizer)

    def bounds(self, system: System) -> list[Any]:
        """Returns the bounds of the buckets that hold all sentences."""
        trees = [tree for split in self.codes.text.splits.values() for tree in split]
        if system == "sequence":
            return pair_bounds([self.codes.pair(tree) for tree in trees], first=FIRST, growth=GROWTH)
        return length_bounds(max(len(tree.words) for tree in trees), growth=GROWTH)


@lru_cache(maxsize=1)
def load(data: TreesConfig) -> TreeCodes:
    """Loads trees once for equal options."""
    return load_codes(data)
