"""The options of word_vectors, and what is refused of them."""

import dataclasses
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import tyro

from data import WordTests, WordText, WordTextConfig, WordWindows, load_word_text, read_word_tests
from data.words.windows import BLOCK
from experiments.footprint import Part, check_fits
from experiments.harness.checks import check_at_least, check_not_negative, check_positive, check_seed
from experiments.harness.errors import UserError
from experiments.harness.processes import process_shard
from experiments.task import TrainingOptions
from experiments.text_files import check_same_text
from experiments.training import Flat
from experiments.words.objective import APPLY
from models.words.vectors import Architecture, WordLoss
from train import LoopConfig

ENDLESS = 1_000_000_000  # steps, where epochs say how long
WIDEST = 127  # largest window that batches hold


@dataclass(frozen=True)
class WordVectorConfig:
    """The options of word vectors."""

    preset: str | None = None
    """Options of a timed setting; options given explicitly override it."""
    data: WordTextConfig = field(default_factory=WordTextConfig)
    architecture: Architecture = "skip_gram"
    """skip_gram: predict each word of the context from the centre; cbow: the centre from its context's mean."""
    loss: WordLoss = "negative_sampling"
    """negative_sampling; nce: noise-contrastive estimation; softmax: over the whole vocabulary, for a small one."""
    size: int = 100
    """Numbers in a vector."""
    window: int = 5
    """Largest reach of a context on both sides; that of each centre is drawn from 1 to this."""
    negatives: int = 5
    """Noise words per pair, in expectation."""
    power: float = 0.75
    """Noise words are drawn from the frequencies to this power."""
    sample: float = 1e-3
    """Subsampling: a word of frequency f is kept with probability √(t/f) + t/f; 0 keeps all."""
    shared: int | None = None
    """Centres that share noise words; by default 64 (skip-gram) or 128 (CBOW)."""
    noise: int | None = None
    """Noise words that they share, weighted as so many negatives; by default 64 (skip-gram) or 32 (CBOW)."""
    centres: int = 1024
    """Centres of a small batch, in which changes of a word add up."""
    batch_size: int = 4
    """Small batches per step, one after another; a step is what the loop counts."""
    epochs: float = 40.0
    """Passes through the text, by which the rate falls linearly; --steps ends a run earlier."""
    rate: float | None = None
    """First learning rate; by default 0.025 (skip-gram) or 0.05 (CBOW)."""
    last_rate: float = 1e-4
    """Last learning rate."""
    tests: Path | None = None
    """A file or a folder of similarity sets and analogies, which score the vectors."""
    words: Annotated[tuple[str, ...], tyro.conf.arg(help_behavior_hint="(default: none)")] = ()
    """Words whose nearest neighbours are listed; by default frequent ones."""
    drawn: int = 150
    """Frequent words on the map."""
    seed: int = 0
    """Seed of parameters, subsampling, windows and noise."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(
            steps=ENDLESS, eval_every=40, save_every=200, log_every=10, chunk=10
        )
    )

    def __post_init__(self) -> None:
        check_at_least(
            1, size=self.size, window=self.window, negatives=self.negatives, batch_size=self.batch_size
        )
        check_at_least(BLOCK, centres=self.centres, shared=self.shared_centres)
        check_at_least(1, noise=self.noise_words)
        check_at_least(3, drawn=self.drawn)
        check_positive(epochs=self.epochs, rate=self.first_rate)
        check_not_negative(power=self.power, sample=self.sample, last_rate=self.last_rate)
        check_seed(self.seed)
        if self.window > WIDEST:
            raise UserError("--window", f"must be at most {WIDEST}, but is {self.window}")
        for option, number, of in (
            ("--shared", self.shared_centres, BLOCK),
            ("--centres", self.centres, self.shared_centres),
        ):
            if number % of:
                raise UserError(option, f"must be a multiple of {of}, but is {number}")
        if self.last_rate > self.first_rate:
            raise UserError("--last-rate", f"{self.last_rate:g} is above the first, {self.first_rate:g}")

    @property
    def shared_centres(self) -> int:
        """Returns how many centres share noise words."""
        return self.shared or (64 if self.architecture == "skip_gram" else 128)

    @property
    def noise_words(self) -> int:
        """Returns how many noise words they share."""
        return self.noise or (64 if self.architecture == "skip_gram" else 32)

    @property
    def first_rate(self) -> float:
        """Returns the first learning rate."""
        return self.rate or (0.025 if self.architecture == "skip_gram" else 0.05)

    @property
    def label(self) -> str:
        """Names the model as figures and tables do."""
        name = {"skip_gram": "skip-gram", "cbow": "CBOW"}[self.architecture]
        return name if self.loss == "negative_sampling" else f"{name}, {self.loss}"

    @cached_property
    def text(self) -> WordText:
        """Returns the text, loaded when first asked for."""
        return load_word_text(self.data)

    @cached_property
    def word_tests(self) -> WordTests:
        """Returns the similarity sets and analogies."""
        return WordTests() if self.tests is None else read_word_tests(self.tests)

    def check(self) -> None:
        """Checks the options against the text, before a run is begun."""
        text, tests = self.text, self.word_tests
        del tests  # read for its refusals
        known = set(text.vocabulary.types)
        for word in self.words:
            if word not in known:
                raise UserError("--words", f"names {word!r}, which is not in the vocabulary of the text")
        numbers = 4 * len(text.vocabulary) * self.size
        scores = 12 * self.centres * len(text.vocabulary) if self.loss == "softmax" else 0
        check_fits(
            {
                "vectors and their changes": Part(12 * numbers, "a smaller --size"),
                "the scores of a small batch": Part(scores, "a smaller --centres"),
            }
        )

    def check_resumed(self, folder: Path) -> None:
        """Raises ValueError where the run in a folder was begun on another text."""
        check_same_text(folder, self.text)

    def windows(self, seed: int, small_batches: int | None = None) -> WordWindows:
        """Returns the batches of this process, or with `small_batches` the same of every process."""
        shard: Any = process_shard() if small_batches is None else {}
        return WordWindows(
            self.text,
            window=self.window,
            sample=self.sample,
            power=self.power,
            centres=self.centres,
            shared=self.shared_centres,
            noise=self.noise_words,
            small_batches=small_batches or self.batch_size,
            seed=seed,
            rate=self.first_rate,
            last_rate=self.last_rate,
            steps=self.steps_of_epochs,
            **shard,
        )

    @cached_property
    def steps_of_epochs(self) -> int:
        """Returns the steps of all epochs."""
        kept = WordWindows.kept_words(self.text, self.sample)
        return max(1, math.ceil(self.epochs * kept / (self.centres * self.batch_size)))

    @property
    def training(self) -> TrainingOptions:
        """Returns the options of training, with the steps of all epochs."""
        loop = dataclasses.replace(self.loop, steps=min(self.loop.steps, self.steps_of_epochs))
        return TrainingOptions(self.seed, self.batch_size, loop, APPLY)
