"""The options of sentiment."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from data import ClassifiedConfig
from data.text.classified import FOLDS
from experiments.embedding import EmbeddingFile
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.network import NetworkConfig
from experiments.training import Flat, TrainingConfig
from models.text_classifier import TextPool
from train import LoopConfig, OptimizerConfig


@dataclass(frozen=True)
class SentimentConfig(TrainingConfig):
    """The options of an experiment that classifies sentences."""

    preset: str | None = None
    """Options of a setting on real data; options given explicitly override it."""
    data: ClassifiedConfig = field(default_factory=ClassifiedConfig)
    all_folds: bool = False
    """Train and test on each of the ten folds, and report the mean."""
    compare_forward: bool = True
    """Train a net that reads forward only, of as many units, beside the one that reads both ways."""
    pool: TextPool = "attention"
    """What is read out of the outputs: the last, their mean or maximum, or a mean weighted by attention."""
    embedding_size: int = 64
    """Size of the vector of a word, E."""
    embedding: EmbeddingFile = None
    characters: bool = False
    """Read the characters of each word too, by a convolution."""
    min_count: int = 1
    """Words seen fewer times in training are unknown."""
    word_dropout: float = 0.05
    """The share of words made unknown in training, so that the vector of unknown words is trained."""
    unit_dropout: float = 0.3
    """Dropout rate on the vectors of words and on what is read out."""
    examples: int = 20
    """Test sentences whose attention is drawn."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=lambda: NetworkConfig(direction="both"))
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=600, eval_every=100, save_every=300)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(
            1, embedding_size=self.embedding_size, min_count=self.min_count, examples=self.examples
        )
        for name, rate in (("--word-dropout", self.word_dropout), ("--unit-dropout", self.unit_dropout)):
            if not 0 <= rate < 1:
                raise UserError(name, f"must be at least 0 and below 1, but is {rate}")

    @property
    def beside(self) -> "SentimentConfig":
        """Returns the same options for a net that reads forward only."""
        return replace(self, network=replace(self.network, direction="forward"))

    @property
    def folds(self) -> list[int]:
        """Returns the folds to test on."""
        return list(range(1, FOLDS + 1)) if self.all_folds else [self.data.fold]

    @property
    def nets(self) -> dict[str, bool]:
        """Returns the nets by their labels, and whether each reads forward only."""
        beside = {self.beside.label(): True} if self.compare_forward else {}
        return {self.label(): self.network.direction == "forward"} | beside
