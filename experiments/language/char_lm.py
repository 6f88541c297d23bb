"""Predict the next character with a recurrent net; bits per character, samples.

The same as language_model, with characters as tokens. By default it learns the prose of Python's language
reference; use --preset five_minutes with --data.dir FILE for a text of about a million characters, split 90 % for
training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from data import TextConfig
from experiments.harness.run import Run
from experiments.language import language_model
from experiments.language.config import TextModelConfig
from experiments.training import Flat
from train import LoopConfig, OptimizerConfig


@dataclass(frozen=True)
class Config(TextModelConfig):
    """Character model."""

    data: TextConfig = field(default_factory=lambda: TextConfig(unit="character"))
    hidden_size: int = 192
    """Units of the cell, H."""
    embedding_size: int | None = 32
    """Size of the embedding of a token."""
    edge_dropout: float = 0.1
    """Dropout rate on the input of the first layer and the output of the last."""
    test_rows: int = 10
    """Rows in which held-out text is read at the end; 1 carries the state through all of it."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=1500, eval_every=100))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=1e-2, schedule="cosine")
    )


PRESETS: Mapping[str, Config] = {
    "five_minutes": Config(
        preset="five_minutes",
        data=TextConfig(unit="character", valid_share=0.1, test_share=0.0),
        hidden_size=320,
        embedding_size=64,
        length=64,
        batch_size=64,
        loop=LoopConfig(steps=2400, eval_every=400, save_every=400),
        optimizer=OptimizerConfig(learning_rate=6e-3, schedule="warmup_cosine", warmup_steps=100),
    ),
}


def main(config: Config, run: Run) -> str:
    """Trains, evaluates, samples and draws; returns the report."""
    return language_model.main(config, run)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return language_model.draw(folder)
