"""Predict the next word with a recurrent net; perplexity, gradients, samples.

Trains on the training split of a text (--data.dir, or the prose of Python's language reference) by truncated
backpropagation with a carried state, or, with --reading lines or windows, on each line or window separately.
--preset zaremba_small is the small, unregularised LSTM of Zaremba, Sutskever & Vinyals 2014 on PTB, and
transformer_small a Transformer trained about as long; --preset bengio is the fixed-window model of Bengio et al.
2003, on any text. Perplexities count every token, including line ends, as is usual on PTB.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from experiments.harness.run import Run
from experiments.language import report as text_report
from experiments.language.config import ENDLESS, TextModelConfig, TextTraining
from experiments.language.gpt import NANOGPT, gpt_options
from experiments.language.train import train_text_model
from experiments.network import NetworkConfig
from experiments.text_files import remember_text
from experiments.training import Flat
from train import LoopConfig, OptimizerConfig


@dataclass(frozen=True)
class WordTraining(TextTraining):
    """The training of models of words."""

    hidden_size: int = 128
    """Units of the cell, H."""
    edge_dropout: float = 0.5
    """Dropout rate on the input of the first layer and the output of the last."""
    tied: bool = True
    """Share one matrix between the embedding and the output layer."""
    length: int = 20
    """Steps of truncated backpropagation, T; the state is carried from batch to batch. With --reading windows the
    tokens of a window, the context."""
    batch_size: int = 20
    """Rows of text per batch, B."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=100))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="cosine")
    )


@dataclass(frozen=True)
class Config(WordTraining, TextModelConfig):
    """Language model."""


PRESETS: Mapping[str, Config] = {
    # Bengio, Ducharme, Vincent & Jauvin 2003, table 1, MLP1: n = 5, 50 hidden units, 60 features a word, direct
    # connections. Their training, word by word at a falling rate with weight decay, is Adam and dropout here.
    "bengio": Config(
        preset="bengio",
        cell="window(order=5, direct=True)",
        hidden_size=50,
        embedding_size=60,
        tied=False,
        loop=LoopConfig(steps=1000, eval_every=100),
        optimizer=OptimizerConfig(learning_rate=5e-3, schedule="cosine"),
    ),
    # Zaremba, Sutskever & Vinyals 2014, section 4.1, "non-regularized LSTM": 115.91 on PTB's test text.
    "zaremba_small": Config(
        preset="zaremba_small",
        cell="lstm(forget_bias=0)",
        hidden_size=200,
        network=NetworkConfig(depth=2),
        edge_dropout=0.0,
        tied=False,
        init_scale=0.1,
        length=20,
        batch_size=20,
        loss_per="row",
        epochs=13.0,
        halve_from_epoch=5,
        # Saved and evaluated once an epoch of PTB, which has 2,324 batches.
        loop=LoopConfig(steps=ENDLESS, eval_every=2324, save_every=2324, log_every=100, chunk=100),
        optimizer=OptimizerConfig(name="sgd", learning_rate=1.0, clip_at=5.0),
    ),
    # Beside zaremba_small on PTB, in about its time.
    "transformer_small": Config(
        preset="transformer_small",
        loop=LoopConfig(steps=7300, eval_every=730, save_every=730),
        **gpt_options(
            "transformer(layers=2, heads=4, context=64, dropout=0.2)",
            200,
            64,
            edge_dropout=0.2,
            batch_size=16,
            optimizer=replace(NANOGPT, learning_rate=2e-3),
        ),
    ),
}


def main(config: TextModelConfig, run: Run) -> str:
    """Trains, evaluates, samples and draws; returns the report."""
    corpus = config.corpus
    remember_text(run.folder, corpus)
    print(corpus.summary(), flush=True)
    before, after, _ = train_text_model(run, config, corpus)
    return text_report.report(run, config, corpus, before, after)


def draw(folder: Path) -> list[Path]:
    """Draws the figures of a finished run from its arrays."""
    return text_report.draw(folder)
