"""Options of timed settings on Multi30k: about 20 minutes, or with `_60` an hour, on 2 CPU cores."""

from dataclasses import replace
from typing import Any

from data import ParallelConfig
from experiments.encoder_decoder.search import SearchConfig
from experiments.encoder_decoder.systems import ModelConfig
from train import LoopConfig, OptimizerConfig

MULTI30K = ParallelConfig(source="de", target="en", vocabulary="separate", types=4000)
RECURRENT: dict[str, Any] = {
    "data": MULTI30K,
    "model": ModelConfig(cell="gru", hidden_size=256, dropout=0.3),
    "search": SearchConfig(width=5, normalise="wu", alpha=1.0),
    "smoothing": 0.1,
    "batch_tokens": 1536,
    "select": "bleu",
    "optimizer": OptimizerConfig(learning_rate=2e-3, schedule="warmup_cosine", warmup_steps=200),
}
# Attention with the outputs, all steps in one product, takes 0.27 s a step; within the recurrence 0.36 s.
ATTENTION: dict[str, Any] = RECURRENT | {
    "model": replace(RECURRENT["model"], attention="outputs", score="general")
}
TRANSFORMER: dict[str, Any] = RECURRENT | {
    "model": ModelConfig(
        transformer="transformer(layers=3, heads=4, feed_forward=512, context=128)",
        hidden_size=192,
        dropout=0.1,
    ),
    "batch_tokens": 2048,
    "optimizer": OptimizerConfig(
        learning_rate=2e-3, schedule="warmup_cosine", warmup_steps=400, beta2=0.98, epsilon=1e-9
    ),
}


def loop(steps: int) -> LoopConfig:
    """Returns a loop that evaluates and saves eight times."""
    every = steps // 8
    return LoopConfig(steps=steps, eval_every=every, save_every=every, log_every=50, chunk=1)


# System, options, and the steps of 20 minutes, by the time of a step; that of the fixed context is estimated.
TIMED: dict[str, tuple[str, dict[str, Any], int]] = {
    "multi30k_fixed": ("fixed", RECURRENT, 3000),
    "multi30k_attention": ("attention", ATTENTION, 4000),
    "multi30k_transformer": ("transformer", TRANSFORMER, 1400),
}


def preset_options() -> dict[str, dict[str, Any]]:
    """Returns the options of every preset by its name."""
    found = {}
    for name, (system, options, steps) in TIMED.items():
        for preset, times in ((name, 1), (f"{name}_60", 3)):
            found[preset] = {**options, "preset": preset, "system": system, "loop": loop(steps * times)}
    return found
