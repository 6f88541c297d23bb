"""A training step of a classifier of sentences with attention: `train_chunk` against PyTorch.

Word embeddings of 100 numbers, an LSTM of 128 units in both directions, attention of 64 over its outputs, two
classes, 32 sentences, mean cross entropy, clipping of the global norm at 1, Adam: the net of `python -m experiments
sentiment` at the sizes of its presets, over the sentences of `benchmarks.tagging`, which gives the sides too.

    python -m benchmarks.sentiment      measures this alone, and writes its part of docs/benchmarks.md
"""

from typing import Any

import numpy as np

from benchmarks import tagging
from benchmarks.command import run
from benchmarks.tagging import (
    CLIP,
    RATE,
    SIZES,
    B,
    E,
    H,
    Size,
    V,
    sentences,
    torch_reader,
    torch_turn,
)
from benchmarks.training_steps import TrainingSteps, Turn, our_turn, packed_and_padded

A, CLASSES = 64, 2


def classes(size: Size) -> np.ndarray:
    """Draws the classes `[steps, B]` of the sentences of a turn."""
    return np.random.default_rng(2).integers(0, CLASSES, (size.steps, B)).astype(np.int32)


def weights() -> dict[str, np.ndarray]:
    """Draws weights N(0, 1/columns) and biases N(0, 0.1²) of what reads out, beside those of the tagger that
    read."""
    random = np.random.default_rng(1)
    shapes = {"hidden.weight": (A, 2 * H), "score.weight": (1, A), "readout.weight": (CLASSES, 2 * H)}
    drawn = {name: random.normal(size=shape, scale=shape[1] ** -0.5) for name, shape in shapes.items()}
    drawn |= {
        f"{name}.bias": random.normal(size=n, scale=0.1) for name, n in (("hidden", A), ("readout", CLASSES))
    }
    reading = {name: array for name, array in tagging.weights().items() if not name.startswith("emit.")}
    return reading | {name: array.astype(np.float32) for name, array in drawn.items()}


def our_model() -> tuple[Any, Any]:
    """Returns the model of `python -m experiments sentiment`, and its parameters."""
    import jax.numpy as jnp

    from models import LSTM, Bidirectional, TextClassifier, TokenReader, WordReader, from_torch

    w, cell = {name: jnp.asarray(array) for name, array in weights().items()}, LSTM(H)
    params = {
        "reader": {"words": {"embedding": w["embedding.weight"]}},
        "recurrent": {
            "cell": {
                "forward": from_torch(cell, w, prefix="lstm"),
                "backward": from_torch(cell, w, prefix="lstm", reverse=True),
            }
        },
        "pooling": {
            "attention": {
                "kernel": w["hidden.weight"].T,
                "bias": w["hidden.bias"],
                "readout": w["score.weight"][0],
            }
        },
        "readout": {"kernel": w["readout.weight"].T, "bias": w["readout.bias"]},
    }
    reader = WordReader(TokenReader(V, E))
    return TextClassifier(reader, Bidirectional(cell), CLASSES, attention_size=A), {"params": params}


def ours(size: Size, devices: int) -> Turn:
    """Runs the step of `python -m experiments sentiment`, including metrics."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    from data import Batch
    from experiments.objective import Loss, classification
    from train import OptimizerConfig

    model, params = our_model()
    loss = Loss(model, classification)
    optimizer = OptimizerConfig(learning_rate=RATE, clip="global_norm", clip_at=CLIP)
    (words, _, mask), wanted = sentences(size), classes(size)
    batches = [
        Batch(words[i : i + 1, ..., None], wanted[i : i + 1], mask[i : i + 1]) for i in range(size.steps)
    ]
    # One batch a call, as batches of several lengths are.
    return our_turn(params, batches, loss, optimizer, devices)


def pytorch(size: Size, threads: int, *, packed: bool) -> Turn:
    """Runs the same step with `torch.nn`, over packed or padded sentences."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)

    class Classifier(nn.Module):
        """The whole model and its loss."""

        def __init__(self) -> None:
            super().__init__()
            self.reader, self.readout = torch_reader(packed=packed), nn.Linear(2 * H, CLASSES)
            self.hidden, self.score = nn.Linear(2 * H, A), nn.Linear(A, 1, bias=False)

        def forward(self, words: Any, lengths: Any, turned: Any, mask: Any, classes: Any) -> Any:
            ys = self.reader(words, lengths, turned)
            scores = self.score(torch.tanh(self.hidden(ys)))[..., 0]
            alphas = torch.softmax(scores.masked_fill(~mask, -torch.inf), 0)
            return nn.functional.cross_entropy(self.readout((alphas[..., None] * ys).sum(0)), classes)

    words, _, mask = sentences(size)
    wanted = classes(size).astype(np.int64)
    return torch_turn(Classifier(), weights(), mask, words, mask, wanted, packed=packed)


STEPS = TrainingSteps(
    "sentiment",
    packed_and_padded(ours, pytorch),
    SIZES,
    lambda size: sentences(size).mask.sum() / size.steps,
    "sentiment of sentences of up to",
)


if __name__ == "__main__":
    run("sentiment", __doc__, STEPS.measure, STEPS.serve)
