"""The options of sentiment."""

from dataclasses import dataclass, field, replace
from typing import Annotated

from data import ClassifiedConfig
from data.text.classified import FOLDS
from experiments.harness.checks import check_at_least
from experiments.labelling.config import LabellingConfig
from experiments.labelling.words import WordsConfig
from experiments.training import Flat
from models.text_classifier import TextPool
from train import LoopConfig, OptimizerConfig


@dataclass(frozen=True)
class SentimentConfig(LabellingConfig):
    """The options of an experiment that classifies sentences."""

    data: ClassifiedConfig = field(default_factory=ClassifiedConfig)
    all_folds: bool = False
    """Train and test on each of the ten folds, and report the mean."""
    compare_forward: bool = True
    """Train a net that reads forward only, of as many units, beside the one that reads both ways."""
    pool: TextPool = "attention"
    """The summary of the outputs: the last, their mean or maximum, or a mean weighted by attention."""
    model: Annotated[WordsConfig, Flat] = field(
        default_factory=lambda: WordsConfig(embedding_size=64, characters="none")
    )
    min_count: int = 1
    """Words seen fewer times in training are unknown."""
    examples: int = 20
    """Test sentences whose attention is drawn."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=600, eval_every=100, save_every=300)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, min_count=self.min_count, examples=self.examples)

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
