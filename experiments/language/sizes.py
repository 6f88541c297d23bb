"""The nets that `scaling` compares: small ones, Transformers of four sizes, and the timed presets of `char_lm`."""

from collections.abc import Mapping
from dataclasses import replace

from experiments.language import char_lm
from experiments.language.gpt import NANOGPT, gpt_options
from train import LoopConfig, OptimizerConfig


def gpt(layers: int, size: int, context: int, batch_size: int, steps: int, rate: float) -> char_lm.Config:
    """Returns the options of a Transformer, trained on windows of `context` characters."""
    cell = f"transformer(layers={layers}, heads={size // 32}, context={context})"
    return char_lm.Config(
        loop=LoopConfig(steps=steps, eval_every=max(1, steps // 6)),
        **gpt_options(
            cell, size, context, batch_size=batch_size, optimizer=replace(NANOGPT, learning_rate=rate)
        ),
    )


# For about twenty seconds each.
SMALL: Mapping[str, char_lm.Config] = {
    "small_gpt_1x32": gpt(1, 32, 64, 16, 1200, 6e-3),
    "small_gpt_2x64": gpt(2, 64, 64, 16, 600, 4e-3),
    "small_gpt_2x96": gpt(2, 96, 64, 16, 450, 4e-3),
    "small_gpt_3x128": gpt(3, 128, 64, 16, 220, 3e-3),
    "small_lstm_128": char_lm.Config(
        hidden_size=128,
        loop=LoopConfig(steps=420, eval_every=70),
        optimizer=OptimizerConfig(learning_rate=1e-2, schedule="cosine"),
    ),
}
# For about five minutes each, on a text of about a million characters; the preset gpt_five_minutes has 4 × 128.
SIZES: Mapping[str, char_lm.Config] = {
    "gpt_2x64": gpt(2, 64, 128, 16, 12000, 6e-3),
    "gpt_3x96": gpt(3, 96, 128, 16, 5000, 5e-3),
    "gpt_4x192": gpt(4, 192, 128, 16, 1300, 3e-3),
}
NETS: Mapping[str, char_lm.Config] = {**SMALL, **SIZES, **char_lm.PRESETS}
