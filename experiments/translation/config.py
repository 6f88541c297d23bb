"""The options of translation, and what is refused of them."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, get_args

from data import ParallelConfig, ParallelText, Tokenizer, load_parallel, pair_bounds
from experiments.encoder_decoder.search import SearchConfig
from experiments.encoder_decoder.systems import ModelConfig, System
from experiments.harness.checks import check_at_least, check_seed
from experiments.harness.errors import UserError
from experiments.harness.processes import process_count
from experiments.task import TrainingOptions
from experiments.text_files import check_same_text
from experiments.training import Flat
from experiments.translation.scoring import OF_PROGRAMS, STATISTICS, Scores
from models import EncoderDecoder
from train import LoopConfig, OptimizerConfig

SELECTED = {"bleu": "bleu_lowercased", "exact": "exact", "loss": "cross_entropy"}
GROWTH = 1.25  # from bucket to bucket: each is compiled by itself, and more of them hold less padding


@dataclass(frozen=True)
class TranslationConfig:
    """The options of an experiment that trains translation models."""

    preset: str | None = None
    """Options of a timed setting on Multi30k; options given explicitly override it."""
    system: Literal["all", "fixed", "fed", "attention", "transformer"] = "all"
    """The models to train, one after another. fixed: the decoder begins with the encoder's last state (Sutskever et
    al. 2014); fed: it reads it at every step too (Cho et al. 2014); attention (Bahdanau et al. 2015); transformer
    (Vaswani et al. 2017)."""
    data: ParallelConfig = field(default_factory=ParallelConfig)
    model: Annotated[ModelConfig, Flat] = field(default_factory=ModelConfig)
    search: Annotated[SearchConfig, Flat] = field(default_factory=SearchConfig)
    smoothing: float = 0.0
    """Label smoothing: the share of the target distribution that is spread over all types."""
    sampled: float = 0.0
    """Scheduled sampling at a constant rate: the share of the decoder's inputs that are drawn from the model."""
    batch_size: int = 32
    """Pairs per step, B."""
    batch_tokens: int | None = None
    """In place of --batch-size: tokens per step, padding included, of the longer of the two sides."""
    select: Literal["bleu", "exact", "loss"] = "loss"
    """Choose the best checkpoint by this: BLEU, lower-cased, exact match or the loss on the validation pairs."""
    tested: Literal["last", "best"] = "best"
    """The parameters to test: the last, or those of the best checkpoint."""
    score_every: int = 2
    """Translate the validation pairs at every N-th evaluation, and at the last."""
    examples: int = 20
    """Test sentences whose translations and attention are shown."""
    seed: int = 0
    """Seed of parameters and of the order of the training pairs."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=700, eval_every=175, save_every=175)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        check_at_least(1, batch_size=self.batch_size, score_every=self.score_every, examples=self.examples)
        if self.batch_tokens is not None:
            check_at_least(1, batch_tokens=self.batch_tokens)
        check_seed(self.seed)
        for name, rate in (("--smoothing", self.smoothing), ("--sampled", self.sampled)):
            if not 0 <= rate < 1:
                raise UserError(name, f"must be at least 0 and below 1, but is {rate}")

    @property
    def systems(self) -> tuple[System, ...]:
        """Returns the systems to train."""
        return get_args(System) if self.system == "all" else (self.system,)

    @cached_property
    def text(self) -> ParallelText:
        """Returns the pairs and their vocabularies, loaded when first asked for."""
        return load_parallel(self.data)

    @property
    def title(self) -> str:
        """Returns what is translated."""
        if self.programs:
            return "translation of arithmetic in English → Python"
        return f"translation {self.data.source} → {self.data.target}"

    @property
    def generated(self) -> bool:
        """Returns True if the pairs are made, not read."""
        return self.data.dir is None

    @property
    def programs(self) -> bool:
        """Returns True if the targets are expressions, which have values."""
        return self.generated and self.data.kind == "programs"

    @property
    def statistics(self) -> Scores:
        """Returns the scores of translations."""
        return OF_PROGRAMS if self.programs else STATISTICS

    @property
    def selected(self) -> str:
        """Returns the metric that chooses the best checkpoint."""
        return SELECTED[self.select]

    @property
    def reported(self) -> str:
        """Returns the metric that is drawn and reported first."""
        return "exact" if self.generated else "bleu_lowercased"

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on other pairs."""
        check_same_text(folder, self.text)

    def build(self, system: System, source: Tokenizer, target: Tokenizer) -> EncoderDecoder:
        """Builds the model of a system for the pieces of both languages."""
        sizes, end = (len(source.vocabulary), len(target.vocabulary)), target.vocabulary.end_id
        assert end is not None
        return self.model.build(system, *sizes, end, shared=source is target)

    def training(self, text: ParallelText) -> TrainingOptions:
        """Returns the options of training each system. Of pairs of several lengths a dispatch has one batch, since
        those of one dispatch are padded to one length."""
        bounds, sizes = self.buckets(text)
        loop = self.loop if len(bounds) == 1 else dataclasses.replace(self.loop, chunk=1)
        return TrainingOptions(self.seed, sizes[-1], loop, self.optimizer)

    def buckets(self, text: ParallelText, growth: float = GROWTH) -> tuple[list[tuple[int, int]], list[int]]:
        """Returns the bounds of the buckets that hold all pairs, and the pairs of a batch of each. Generated pairs
        are of similar length, and have one bucket."""
        bounds = pair_bounds(*(split.examples for split in text.splits.values()), growth=growth)
        bounds = bounds[-1:] if self.generated else bounds
        if self.batch_tokens is None:
            return bounds, [self.batch_size] * len(bounds)
        count = process_count()
        return bounds, [max(self.batch_tokens // max(bound) // count, 1) * count for bound in bounds]
