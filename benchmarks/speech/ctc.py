"""The loss of CTC and its gradient in the logits: ours, Optax's behind a guard, beside `torch.nn.CTCLoss`.

29 labels with blank, of T = 100 frames 32 utterances and of T = 1,000 frames 8, one label to five frames; lengths
are drawn between half and the whole of T, and padded. Each side runs in its own process, in turns, over the same
numbers; the losses and the norms of the gradients must agree.

    python -m benchmarks.speech.ctc      measures this alone, and writes its part of docs/benchmarks.md
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.command import run
from benchmarks.training_steps import TrainingSteps, Turn

K = 29  # classes, blank among them


@dataclass(frozen=True)
class Size:
    """Up to T frames or steps, B utterances, `steps` losses or updates a turn."""

    T: int
    B: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.T}, {self.B}"


SIZES = (Size(100, 32, 10), Size(1000, 8, 3))


class Utterances(NamedTuple):
    """Logits `[T, B, K]`, labels 1 … K − 1 `[N, B]`, and how many of each are valid `[B]`."""

    logits: np.ndarray
    labels: np.ndarray
    frames: np.ndarray
    counts: np.ndarray


def utterances(size: Size) -> Utterances:
    """Draws the utterances of a turn."""
    random = np.random.default_rng(0)
    frames = random.integers(size.T // 2, size.T + 1, size.B)
    frames[0] = size.T
    logits = random.normal(size=(size.T, size.B, K)).astype(np.float32)
    labels = random.integers(1, K, (size.T // 5, size.B)).astype(np.int32)
    return Utterances(logits, labels, frames, frames // 5)


def ours(size: Size, devices: int) -> Turn:
    """Runs our loss and its gradient, the batch shared by the devices."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from models import ctc_loss
    from train import batch_mesh

    drawn = utterances(size)
    mesh = batch_mesh(devices)
    mask, label_mask = (
        np.arange(len(array))[:, None] < counts[None]
        for array, counts in ((drawn.logits, drawn.frames), (drawn.labels, drawn.counts))
    )
    shared = NamedSharding(mesh, PartitionSpec(None, *mesh.axis_names))
    logits, labels, mask, label_mask = (
        jax.device_put(array, shared) for array in (drawn.logits, drawn.labels, mask, label_mask)
    )

    @jax.jit
    def both(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        def total(logits: jax.Array) -> jax.Array:
            return jnp.sum(ctc_loss(logits, labels, mask=mask, label_mask=label_mask))

        loss, gradient = jax.value_and_grad(total)(logits)
        return loss, jnp.linalg.norm(gradient)

    def turn() -> list[float]:
        return [float(found) for _ in range(size.steps) for found in both(logits)]

    return turn


def pytorch(size: Size, threads: int) -> Turn:
    """Runs the same by PyTorch."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    drawn = utterances(size)
    logits = torch.tensor(drawn.logits, requires_grad=True)
    labels, frames, counts = (
        torch.tensor(array) for array in (drawn.labels.T.copy(), drawn.frames, drawn.counts)
    )
    loss_of = torch.nn.CTCLoss(reduction="sum")

    def turn() -> list[float]:
        found = []
        for _ in range(size.steps):
            logits.grad = None
            loss = loss_of(torch.log_softmax(logits, -1), labels, frames, counts)
            loss.backward()
            found += [loss.item(), logits.grad.norm().item()]  # type: ignore[union-attr]
        return found

    return turn


STEPS = TrainingSteps(
    "speech.ctc",
    {"ours": ours, "ours, one device": lambda size, _: ours(size, 1), "PyTorch": pytorch},
    SIZES,
    lambda size: float(utterances(size).frames.sum()),
    "CTC's loss of",
)


if __name__ == "__main__":
    run("speech.ctc", __doc__, STEPS.measure, STEPS.serve)
