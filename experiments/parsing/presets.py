"""Settings on the trees of GUM: sentences of at most 40 words, on 2 CPU cores."""

from typing import Any

from data import TreesConfig
from experiments.encoder_decoder.search import SearchConfig
from experiments.parsing.config import ParserConfig
from train import LoopConfig, OptimizerConfig


def loop(steps: int) -> LoopConfig:
    """Returns a loop that evaluates and saves five times."""
    every = steps // 5
    return LoopConfig(steps=steps, eval_every=every, save_every=every, log_every=50, chunk=1)


# 5,040 training sentences: 158 steps an epoch.
GUM: dict[str, Any] = {
    "data": TreesConfig(min_count=2),
    "batch_size": 32,
    "search": SearchConfig(width=8, normalise="none"),
}
GUM_LABELS: dict[str, Any] = GUM | {
    "system": "labels",
    "model": ParserConfig(
        hidden_size=200, depth=2, embedding_size=100, tag_size=64, word_dropout=0.2, dropout=0.4
    ),
    "loop": loop(4000),
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="cosine"),
}
GUM_SEQUENCE: dict[str, Any] = GUM | {
    "system": "sequence",
    "model": ParserConfig(
        hidden_size=200, depth=2, embedding_size=100, tag_size=64, word_dropout=0.2, dropout=0.3
    ),
    "loop": loop(5000),
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="warmup_cosine", warmup_steps=200),
}
