"""A training step of a recogniser: `train_chunk` against PyTorch, with packed and with padded utterances.

Two layers of LSTMs of 128 units in both directions over steps of two frames of 40 filters, 29 classes, CTC, 32
utterances, clipping of the global norm at 1, Adam: the net of `python -m experiments speech --preset fsdd`, without
its dropout and its hidden bands. Lengths are drawn between three quarters and the whole of T = 100 steps, a label
to five of them, and padded. Each side runs in its own process, in turns, from the same weights over the same
utterances, and the losses must agree.

    python -m benchmarks.speech.recogniser      measures this alone, and writes its part of docs/benchmarks.md
"""

from typing import Any

import numpy as np

from benchmarks.command import run
from benchmarks.speech.ctc import Size
from benchmarks.training_steps import TrainingSteps, Turn, our_turn, packed_and_padded, torch_steps

D, H, DEPTH, K = 80, 128, 2, 29
RATE, CLIP = 1e-3, 1.0
WAYS = ("", "_reverse")
SIZES = (Size(100, 32, 5),)


def utterances(size: Size) -> Any:
    """Draws the batches of a turn, a `SpeechBatch` of leaves `[steps, …]`."""
    from data.speech.batches import SpeechBatch

    random, most = np.random.default_rng(0), size.T // 5
    steps = random.integers(3 * size.T // 4, size.T + 1, (size.steps, 1, size.B))
    mask, label_mask = (np.arange(n)[:, None] < ends for n, ends in ((size.T, steps), (most, steps // 5)))
    inputs = random.normal(size=(size.steps, size.T, size.B, D)) * mask[..., None]
    labels = random.integers(1, K, (size.steps, most, size.B)) * label_mask
    spread = np.zeros(mask.shape, np.int32)
    return SpeechBatch(inputs.astype(np.float32), mask, labels.astype(np.int32), label_mask, spread)


def weights() -> dict[str, np.ndarray]:
    """Draws weights N(0, 1/columns) and biases N(0, 0.1²), under PyTorch's names for a `torch.nn.LSTM`."""
    random = np.random.default_rng(1)
    shapes: dict[str, tuple[int, ...]] = {"emit.weight": (K, 2 * H), "emit.bias": (K,)}
    for layer in range(DEPTH):
        for way in WAYS:
            place = f"l{layer}{way}"
            shapes |= {f"lstm.weight_ih_{place}": (4 * H, 2 * H if layer else D)}
            shapes |= {f"lstm.weight_hh_{place}": (4 * H, H)}
            shapes |= {f"lstm.bias_{part}_{place}": (4 * H,) for part in ("ih", "hh")}
    return {
        name: random.normal(size=shape, scale=shape[1] ** -0.5 if len(shape) > 1 else 0.1).astype(np.float32)
        for name, shape in shapes.items()
    }


def our_model() -> tuple[Any, Any]:
    """Returns the model of `python -m experiments speech`, and its parameters."""
    from experiments.network import NetworkConfig
    from models import SequenceTagger
    from models.weights.torch_stack import from_torch_stack

    w, stack = weights(), NetworkConfig(depth=DEPTH, direction="both").build("lstm", H)
    params = {
        "recurrent": {"cell": from_torch_stack(stack, w, prefix="lstm")},
        "readout": {"kernel": w["emit.weight"].T, "bias": w["emit.bias"]},
    }
    return SequenceTagger(stack, K), {"params": params}


def ours(size: Size, devices: int) -> Turn:
    """Runs the step of `python -m experiments speech`, including metrics."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    from data.speech.augmentation import AugmentConfig
    from experiments.speech.objective import RecognitionLoss
    from train import OptimizerConfig

    model, params = our_model()
    loss = RecognitionLoss(model, False, AugmentConfig(), D // 2)
    optimizer = OptimizerConfig(learning_rate=RATE, clip="global_norm", clip_at=CLIP)
    drawn = utterances(size)
    batches = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], drawn) for i in range(size.steps)]
    # One batch a call, as batches of several lengths are.
    return our_turn(params, batches, loss, optimizer, devices)


def torch_model(*, packed: bool) -> Any:
    """Builds the recogniser of `torch.nn`: one LSTM over packed utterances, or for every layer one of each
    direction over padded ones, the backward one's turned round within their lengths."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    rnn = nn.utils.rnn

    class Recogniser(nn.Module):
        """LSTMs and what gives each step its classes."""

        def __init__(self) -> None:
            super().__init__()
            self.emit = nn.Linear(2 * H, K)
            self.lstm = nn.LSTM(D, H, DEPTH, bidirectional=True) if packed else None
            sizes = [2 * H if layer else D for layer in range(DEPTH) for _ in WAYS]
            self.ways = None if packed else nn.ModuleList([nn.LSTM(size, H) for size in sizes])

        def forward(self, xs: Any, lengths: Any, turned: Any) -> Any:
            if self.lstm is not None:
                sequence = rnn.pack_padded_sequence(xs, lengths, enforce_sorted=False)
                return self.emit(rnn.pad_packed_sequence(self.lstm(sequence)[0], total_length=len(xs))[0])
            for layer in range(DEPTH):
                forward, backward = self.ways[2 * layer : 2 * layer + 2]  # type: ignore[index]
                from_end = torch.gather(xs, 0, turned[..., None].expand(xs.shape))
                last = backward(from_end)[0]
                xs = torch.cat(
                    [forward(xs)[0], torch.gather(last, 0, turned[..., None].expand(last.shape))], -1
                )
            return self.emit(xs)

    return Recogniser()


def torch_weights(*, packed: bool) -> dict[str, np.ndarray]:
    """Returns the weights by the names of `torch_model`."""
    drawn = weights()
    if packed:
        return drawn
    moved = {}
    for name, array in drawn.items():
        if name.startswith("lstm."):
            part, layer = name.removeprefix("lstm.").removesuffix("_reverse").rsplit("_l", 1)
            way = 2 * int(layer) + name.endswith("_reverse")
            name = f"ways.{way}.{part}_l0"
        moved[name] = array
    return moved


def pytorch(size: Size, threads: int, *, packed: bool) -> Turn:
    """Runs the same step with `torch.nn`."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    model = torch_model(packed=packed)
    model.load_state_dict({name: torch.tensor(array) for name, array in torch_weights(packed=packed).items()})
    for name, parameter in model.named_parameters():  # ours has one bias: of two the sum would take two steps
        parameter.requires_grad_("bias_hh" not in name)
    drawn, places = utterances(size), np.arange(size.T)[:, None]
    lengths, counts = drawn.mask.sum(axis=1), drawn.label_mask.sum(axis=1)
    turned = np.where(drawn.mask, lengths[:, None] - 1 - places, places)
    parts = (drawn.inputs, lengths, turned, drawn.labels.transpose(0, 2, 1).copy(), counts)
    batches = list(zip(*map(torch.tensor, parts), strict=True))
    costs = nn.CTCLoss(reduction="sum")

    def loss(xs: Any, ends: Any, places: Any, labels: Any, sizes: Any) -> Any:
        return costs(torch.log_softmax(model(xs, ends, places), -1), labels, ends, sizes) / sizes.sum()

    return torch_steps(model, loss, batches, rate=RATE, clip=CLIP)


STEPS = TrainingSteps(
    "speech.recogniser",
    packed_and_padded(ours, pytorch),
    SIZES,
    lambda size: utterances(size).mask.sum() / size.steps,
    "a recogniser's step of",
)


if __name__ == "__main__":
    run("speech.recogniser", __doc__, STEPS.measure, STEPS.serve)
