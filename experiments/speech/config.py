"""The options of speech."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal

import tyro

from data.speech.augmentation import AugmentConfig
from data.speech.corpus import SpeechConfig
from data.speech.features import FeaturesConfig
from data.speech.joined import JoinConfig
from data.speech.labels import LabelKind
from experiments.harness.checks import check_at_least, check_between, check_distinct
from experiments.harness.errors import UserError
from experiments.network import NetworkConfig
from experiments.speech.text import SpokenText, spoken_text
from experiments.training import Flat, TrainingConfig
from models.layers.layer import is_causal
from train import LoopConfig, OptimizerConfig

System = Literal["ctc", "trimming", "attention", "joint"]
SYSTEMS_HELP = (
    "The nets side by side. ctc: labels without alignment; trimming: the same net, trained frame by frame on the "
    "labels of each word spread evenly over its recording, equal neighbours trimmed; attention: the same net under "
    "a decoder that attends to it; joint: that one, its encoder trained by CTC too."
)


@dataclass(frozen=True)
class RecognitionConfig(TrainingConfig):
    """The options of an experiment that recognises speech."""

    preset: str | None = None
    """Options of a setting; options given explicitly override it."""
    data: SpeechConfig = field(default_factory=SpeechConfig)
    join: JoinConfig = field(
        default_factory=lambda: JoinConfig(most=8, shortest_pause=0.04, longest_pause=0.12, noise=-15.0)
    )
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    labels: LabelKind = "letters"
    """Letters, whole words, or pieces of words."""
    pieces: int = 60
    """Pieces of words, at most, with --labels pieces."""
    width: int = 8
    """Prefixes kept by the search of the test labels, beside the greedy one; 1: leave it out."""
    held_out: int = 200
    """Utterances joined for validation, and for test, of a corpus of single words."""
    pad: int = 128
    """Steps to a multiple of which a batch is padded; each length is compiled by itself."""
    shown: int = 2
    """Test utterances whose probabilities are drawn."""
    network: Annotated[NetworkConfig, Flat] = field(default_factory=lambda: NetworkConfig(direction="both"))
    batch_size: int = 16
    """Utterances per step, B."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=700, eval_every=100, save_every=100, chunk=10)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=1e-2, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(
            1, pieces=self.pieces, width=self.width, held_out=self.held_out, pad=self.pad, shown=self.shown
        )

    @cached_property
    def text(self) -> SpokenText:
        """Returns recordings and labels, loaded when first asked for."""
        return spoken_text(
            self.data,
            self.join,
            self.features,
            self.augment.speeds,
            self.labels,
            self.pieces,
            self.held_out,
        )

    @property
    def streams(self) -> bool:
        """True if a trained net can listen as sound arrives: nothing that it computes waits for what follows."""
        return (
            is_causal(self.layer()) and not self.features.centred and self.features.normalise != "utterance"
        )

    def check(self) -> None:
        """Raises ValueError for faults of options and recordings, before a run is begun."""
        super().check()
        if self.preset is not None and self.preset.startswith("fsdd") and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for recordings in a folder")
        if self.loop.health.every:
            raise UserError("--health.every", "isn't measured of recognition: leave it out")
        _ = self.text


@dataclass(frozen=True)
class SystemsConfig(RecognitionConfig):
    """The options of several systems side by side."""

    systems: Annotated[tuple[System, ...], tyro.conf.arg(help=SYSTEMS_HELP)] = ("ctc", "trimming")
    share: float = 0.3
    """Share of CTC in the loss of the system joint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distinct(systems=self.systems)
        check_between(0, 1, share=self.share)
