"""Predict the next character with a recurrent net or a Transformer; bits per character, samples.

The same as language_model, with characters as tokens. By default it learns the prose of Python's language
reference; use --preset five_minutes with --data.dir FILE for a text of about a million characters, split 90 % for
training. --reading windows begins with the options of --preset gpt, a small Transformer; the presets gpt_cpu,
gpt_five_minutes and gpt_thirty_minutes are for --data.dir FILE too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from data import TextConfig
from experiments.harness.run import Run
from experiments.language import language_model
from experiments.language.config import TextModelConfig, TextTraining
from experiments.language.gpt import NANOGPT, gpt_options
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

    def as_default(self, given: Mapping[str, str]) -> TextTraining:
        """Returns this config as the default beside the options given; with windows that of the preset gpt."""
        windows = self.preset is None and given.get("--reading") == "windows"
        return TextModelConfig.as_default(replace(PRESETS["gpt"], preset=None) if windows else self, given)


MILLION = TextConfig(
    unit="character", valid_share=0.1, test_share=0.0
)  # a text of about a million characters
PRESETS: Mapping[str, Config] = {
    "five_minutes": Config(
        preset="five_minutes",
        data=MILLION,
        hidden_size=320,
        embedding_size=64,
        length=64,
        batch_size=64,
        loop=LoopConfig(steps=2400, eval_every=400, save_every=400),
        optimizer=OptimizerConfig(learning_rate=6e-3, schedule="warmup_cosine", warmup_steps=100),
    ),
    "thirty_minutes": Config(
        preset="thirty_minutes",
        data=MILLION,
        hidden_size=512,
        embedding_size=64,
        length=64,
        batch_size=64,
        edge_dropout=0.3,
        loop=LoopConfig(steps=6500, eval_every=500, save_every=500),
        optimizer=OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=100),
    ),
    "gpt": Config(
        preset="gpt",
        loop=LoopConfig(steps=1200, eval_every=200),
        **gpt_options(
            "transformer(layers=2, heads=4, context=64)",
            128,
            64,
            batch_size=16,
            optimizer=replace(NANOGPT, learning_rate=2e-3),
        ),
    ),
    # nanoGPT's README, "I only have a macbook": 1.88 nats a character on Tiny Shakespeare, from 20 random batches,
    # with learned positions, which learn more slowly than rotary ones.
    "gpt_cpu": Config(
        preset="gpt_cpu",
        data=MILLION,
        loop=LoopConfig(steps=2000, eval_every=500, save_every=500),
        **gpt_options("transformer(layers=4, heads=4, context=64)", 128, 64, batch_size=12),
    ),
    "gpt_five_minutes": Config(
        preset="gpt_five_minutes",
        data=MILLION,
        loop=LoopConfig(steps=2200, eval_every=400, save_every=400),
        **gpt_options(
            "transformer(layers=4, heads=4, context=128)",
            128,
            128,
            batch_size=16,
            optimizer=replace(NANOGPT, learning_rate=4e-3),
        ),
    ),
    "gpt_thirty_minutes": Config(
        preset="gpt_thirty_minutes",
        data=MILLION,
        loop=LoopConfig(steps=5500, eval_every=500, save_every=500),
        **gpt_options(
            "transformer(layers=5, heads=6, context=128, dropout=0.1)",
            192,
            128,
            batch_size=16,
            optimizer=replace(NANOGPT, learning_rate=2.5e-3),
        ),
    ),
}


def main(config: Config, run: Run) -> str:
    """Trains, evaluates, samples and draws; returns the report."""
    return language_model.main(config, run)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return language_model.draw(folder)
