"""The options that presets of Transformers share: GPT is a language model with that cell, which reads windows."""

from typing import Any

from train import OptimizerConfig

# Of nanoGPT's train.py with config/train_shakespeare_char.py: weights of two axes or more decay, other ones don't.
NANOGPT = OptimizerConfig(
    name="adamw",
    learning_rate=1e-3,
    schedule="warmup_cosine",
    warmup_steps=100,
    end_fraction=0.1,
    beta2=0.99,
    weight_decay=0.1,
)


def gpt_options(cell: str, size: int, context: int, **options: Any) -> dict[str, Any]:
    """Returns options of a Transformer of that size which reads windows of `context` tokens; as in GPT-2 one matrix
    embeds and predicts. Other options are taken as given."""
    windows = {"reading": "windows", "length": context, "positions": context, "lags": context}
    model = {"cell": cell, "hidden_size": size, "embedding_size": size, "tied": True, "edge_dropout": 0.0}
    return model | windows | {"optimizer": NANOGPT} | options
