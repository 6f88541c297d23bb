"""Settings of taggers on real data, timed on 2 CPU cores."""

import dataclasses
from typing import Any

from data import TaggedConfig
from experiments.labelling.words import WordsConfig
from train import LoopConfig, OptimizerConfig


def loop(steps: int, evaluations: int) -> LoopConfig:
    """Returns a loop that evaluates and saves so many times."""
    every = steps // evaluations
    return LoopConfig(steps=steps, eval_every=every, save_every=every, log_every=50, chunk=1)


# ATIS: 4,478 requests; 30 epochs.
ATIS: dict[str, Any] = {
    "data": TaggedConfig(unseen="miss"),
    "model": WordsConfig(embedding_size=100, characters="convolution", word_dropout=0.05, vector_dropout=0.5),
    "hidden_size": 128,
    "batch_size": 32,
    "loop": loop(4200, 7),
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="cosine"),
}
# English Web Treebank: 12,544 sentences; 9 epochs.
EWT: dict[str, Any] = {
    "model": WordsConfig(embedding_size=100, characters="convolution", word_dropout=0.1, vector_dropout=0.4),
    "hidden_size": 128,
    "batch_size": 32,
    "loop": loop(3600, 6),
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="cosine"),
}
# The same, words alone, whose capitals then tell names.
EWT_WORDS: dict[str, Any] = EWT | {
    "model": dataclasses.replace(EWT["model"], characters="none"),
    "data": TaggedConfig(lowercase=False),
}
