"""A training step of a tagger: `train_chunk` against PyTorch, with packed and with padded sentences.

Word embeddings of 100 numbers, an LSTM of 128 units in both directions, 17 tags, 32 sentences, mean cross entropy
of the words, clipping of the global norm at 1, Adam: the tagger of `python -m experiments pos_tagging --characters
none` at the sizes of its preset. Lengths are drawn between half and the whole of T, as in its buckets, and padded.
Each side runs in its own process, in turns, from the same weights over the same sentences, and the losses must
agree.

    python -m benchmarks.tagging      measures this alone, and writes its part of docs/benchmarks.md
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from benchmarks.command import run
from benchmarks.training_steps import TrainingSteps, Turn, our_turn, packed_and_padded, torch_steps

V, E, H, K, B = 17_000, 100, 128, 17, 32
RATE, CLIP = 1e-3, 1.0


@dataclass(frozen=True)
class Size:
    """Sentences of up to T words, `steps` updates a turn."""

    T: int
    steps: int

    @property
    def name(self) -> str:
        return str(self.T)


SIZES = (Size(16, 16), Size(32, 8))


class Sentences(NamedTuple):
    """The sentences of a turn: word ids and tags `[steps, T, B]`, and which are valid."""

    words: np.ndarray
    tags: np.ndarray
    mask: np.ndarray


def sentences(size: Size) -> Sentences:
    """Draws the sentences of a turn."""
    random, shape = np.random.default_rng(0), (size.steps, size.T, B)
    lengths = random.integers(size.T // 2 + 1, size.T + 1, (size.steps, 1, B))
    mask = np.arange(size.T)[:, None] < lengths
    words, tags = (np.where(mask, random.integers(low, high, shape), 0) for low, high in ((1, V), (0, K)))
    return Sentences(words.astype(np.int32), tags.astype(np.int32), mask)


def weights() -> dict[str, np.ndarray]:
    """Draws weights N(0, 1/columns) and biases N(0, 0.1²), under PyTorch's names for a `torch.nn.LSTM`."""
    random, ways = np.random.default_rng(1), ("", "_reverse")
    matrices = {
        "embedding.weight": (V, E),
        **{f"lstm.weight_ih_l0{way}": (4 * H, E) for way in ways},
        **{f"lstm.weight_hh_l0{way}": (4 * H, H) for way in ways},
        "emit.weight": (K, 2 * H),
    }
    drawn = {name: random.normal(size=shape, scale=shape[1] ** -0.5) for name, shape in matrices.items()}
    biases = {"emit.bias": K, **{f"lstm.bias_{part}_l0{way}": 4 * H for part in ("ih", "hh") for way in ways}}
    drawn |= {name: random.normal(size=size, scale=0.1) for name, size in biases.items()}
    return {name: array.astype(np.float32) for name, array in drawn.items()}


def our_model() -> tuple[Any, Any]:
    """Returns the model of `python -m experiments pos_tagging --characters none`, and its parameters."""
    import jax.numpy as jnp

    from models import LSTM, Bidirectional, Tagger, TokenReader, WordReader, from_torch

    w, cell = {name: jnp.asarray(array) for name, array in weights().items()}, LSTM(H)
    params = {
        "reader": {"words": {"embedding": w["embedding.weight"]}},
        "recurrent": {
            "cell": {
                "forward": from_torch(cell, w, prefix="lstm"),
                "backward": from_torch(cell, w, prefix="lstm", reverse=True),
            }
        },
        "emit": {"kernel": w["emit.weight"].T, "bias": w["emit.bias"]},
    }
    return Tagger(WordReader(TokenReader(V, E)), Bidirectional(cell), K), {"params": params}


def ours(size: Size, devices: int) -> Turn:
    """Runs the step of `python -m experiments pos_tagging`, including metrics."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    from data import Batch
    from experiments.labelling.tagging import TaggingLoss
    from train import OptimizerConfig

    model, params = our_model()
    loss = TaggingLoss(model)
    optimizer = OptimizerConfig(learning_rate=RATE, clip="global_norm", clip_at=CLIP)
    drawn = sentences(size)
    batches = [
        Batch(drawn.words[i : i + 1, ..., None], drawn.tags[i : i + 1], drawn.mask[i : i + 1])
        for i in range(size.steps)
    ]
    # One batch a call, as batches of several lengths are.
    return our_turn(params, batches, loss, optimizer, devices)


def torch_reader(*, packed: bool) -> Any:
    """Builds a module of `torch.nn` that maps words to the outputs of both directions: of one LSTM over packed
    sentences, or of one for each direction over padded ones, the backward one's turned round within their
    lengths."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    rnn = nn.utils.rnn

    class Reader(nn.Module):
        """Embedding and LSTM."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(V, E)
            self.lstm = nn.LSTM(E, H, bidirectional=True) if packed else None
            self.ways = None if packed else nn.ModuleList([nn.LSTM(E, H), nn.LSTM(E, H)])

        def forward(self, words: Any, lengths: Any, turned: Any) -> Any:
            xs = self.embedding(words)
            if self.lstm is not None:
                sequence = rnn.pack_padded_sequence(xs, lengths, enforce_sorted=False)
                return rnn.pad_packed_sequence(self.lstm(sequence)[0], total_length=len(xs))[0]
            forward, backward = self.ways  # type: ignore[misc]
            from_end = torch.gather(xs, 0, turned[..., None].expand(-1, -1, E))
            last = torch.gather(backward(from_end)[0], 0, turned[..., None].expand(-1, -1, H))
            return torch.cat([forward(xs)[0], last], -1)

    return Reader()


def torch_turn(
    model: Any,
    weights: dict[str, np.ndarray],
    mask: np.ndarray,
    words: np.ndarray,
    *others: np.ndarray,
    packed: bool,
) -> Turn:
    """Trains a module whose `reader` is a `torch_reader`, from such weights; it maps words, their lengths, the
    places from the end and the `others` of a batch to the loss."""
    import torch  # pyright: ignore[reportMissingImports]

    arrays = {name: torch.tensor(array) for name, array in weights.items()}
    for name in [name for name in arrays if name.startswith(("embedding.", "lstm."))]:
        inside = name
        if not packed and name.startswith("lstm."):
            way = 1 if name.endswith("_reverse") else 0
            inside = name.replace("lstm.", f"ways.{way}.").removesuffix("_reverse")
        arrays[f"reader.{inside}"] = arrays.pop(name)
    model.load_state_dict(arrays)
    for name, parameter in model.named_parameters():  # ours has one bias: of two the sum would take two steps
        parameter.requires_grad_("bias_hh" not in name)
    lengths, steps = mask.sum(axis=1), np.arange(mask.shape[1])[:, None]
    turned = np.where(mask, lengths[:, None] - 1 - steps, steps)
    parts = (words.astype(np.int64), lengths, turned, *others)
    batches = list(zip(*map(torch.tensor, parts), strict=True))
    return torch_steps(model, model, batches, rate=RATE, clip=CLIP)


def pytorch(size: Size, threads: int, *, packed: bool) -> Turn:
    """Runs the same step with `torch.nn`."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)

    class Tagger(nn.Module):
        """The whole model and its loss."""

        def __init__(self) -> None:
            super().__init__()
            self.reader, self.emit = torch_reader(packed=packed), nn.Linear(2 * H, K)

        def forward(self, words: Any, lengths: Any, turned: Any, tags: Any) -> Any:
            logits = self.emit(self.reader(words, lengths, turned))
            return nn.functional.cross_entropy(logits.view(-1, K), tags.view(-1))

    words, tags, mask = sentences(size)
    ignored = np.where(mask, tags, -100).astype(np.int64)  # the index that `cross_entropy` leaves out
    return torch_turn(Tagger(), weights(), mask, words, ignored, packed=packed)


STEPS = TrainingSteps(
    "tagging",
    packed_and_padded(ours, pytorch),
    SIZES,
    lambda size: sentences(size).mask.sum() / size.steps,
    "tagging of sentences of up to",
)


if __name__ == "__main__":
    run("tagging", __doc__, STEPS.measure, STEPS.serve)
