"""A training step of a Neural Turing machine: `train_chunk` against PyTorch.

The machine of `python -m experiments turing_tasks --preset copy`: an LSTM of 100 units, a memory of 128 rows of 20
numbers, one head that reads and one that writes, shifts by one; 32 sequences of 1 to 20 vectors of eight bits (41
steps), the bits of a sequence summed, clipping of the global norm at 50, Adam. PyTorch runs the same equations in a
loop over the steps. Each side runs in its own process, in turns, from the same weights over the same sequences, and
the losses must agree.

    python -m benchmarks.turing      measures this alone, and writes its part of docs/benchmarks.md
"""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.command import WORKER, run
from benchmarks.compare import Worker
from benchmarks.training_steps import Turn, answer_turns, our_turn, torch_steps, training_turns

B, LONGEST, BITS, H, N, M = 32, 20, 8, 100, 128, 20
STEPS, ROUNDS = 5, 7
RATE, CLIP = 1e-3, 50.0
SIDES = ("ours", "ours, one device", "PyTorch")


def sequences(steps: int = STEPS, longest: int = LONGEST) -> Any:
    """Draws the sequences of a turn: `inputs [steps, T, B, 9]`, `targets [steps, T, B, 8]` and a mask."""
    from functools import partial

    from data import TaskBatches
    from data.synthetic.turing_tasks import copy
    from experiments.problems import threefry

    return TaskBatches(partial(copy, longest=longest), threefry(0), B).take(steps)


def our_model() -> tuple[Any, Any]:
    """Returns the machine with its readout, and parameters drawn from a seed."""
    import jax
    import jax.numpy as jnp

    from models import LSTM, NeuralTuringMachine, SequenceTagger

    model = SequenceTagger(NeuralTuringMachine(H, LSTM(H), slots=N, width=M), BITS)
    return model, model.init(jax.random.key(0), jnp.zeros((2, B, BITS + 1)))


def ours(devices: int) -> Turn:
    """Runs the step of `python -m experiments turing_tasks`, including metrics."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    from experiments.machines.bits import bit_costs
    from experiments.objective import Loss
    from train import OptimizerConfig

    model, params = our_model()
    loss = Loss(model, bit_costs)
    optimizer = OptimizerConfig(learning_rate=RATE, clip="global_norm", clip_at=CLIP)
    batches = sequences()
    return our_turn(params, [batches], loss, optimizer, devices)


def torch_machine(params: Any) -> Any:
    """Builds the machine as a module of PyTorch, from the parameters of ours."""
    import torch  # pyright: ignore[reportMissingImports]
    from torch import nn  # pyright: ignore[reportMissingImports]

    softplus, softmax = nn.functional.softplus, torch.softmax

    def tensor(leaf: Any) -> Any:
        return nn.Parameter(torch.tensor(np.array(leaf)))

    class Machine(nn.Module):
        """A loop over the steps."""

        def __init__(self) -> None:
            super().__init__()
            cell, readout = params["params"]["recurrent"]["cell"], params["params"]["readout"]
            own = cell["controller"]
            self.kernel, self.recurrent, self.bias = (tensor(own[k]) for k in ("kernel", "recurrent", "bias"))
            self.head_kernel, self.head_bias = tensor(cell["heads"]["kernel"]), tensor(cell["heads"]["bias"])
            self.first_heads, self.first_reads = (tensor(cell["start"][k]) for k in ("heads", "reads"))
            self.readout, self.readout_bias = tensor(readout["kernel"]), tensor(readout["bias"])

        def forward(self, inputs: Any) -> Any:
            h = c = torch.zeros(B, H)
            memory = torch.full((B, N, M), 1e-6)
            heads = softmax(self.first_heads, -1).expand(B, 2, N)
            read = self.first_reads.expand(B, 1, M)[:, 0]
            outputs, size = [], M + 3 + 3
            for x in inputs:
                z = torch.cat([x, read], -1) @ self.kernel + h @ self.recurrent + self.bias
                i, f, g, o = z.chunk(4, -1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                z = torch.clamp(h @ self.head_kernel + self.head_bias, -20, 20)
                own = z[:, : 2 * size].reshape(B, 2, size)
                key, strength = torch.tanh(own[..., :M]), softplus(own[..., M])
                gate, gamma = torch.sigmoid(own[..., M + 1, None]), 1 + softplus(own[..., M + 2, None])
                shifts = softmax(own[..., M + 3 :], -1)
                norms = torch.sqrt((memory**2).sum(-1) + 1e-12)
                lengths = torch.sqrt((key**2).sum(-1) + 1e-12)
                near = key @ memory.transpose(1, 2) / (lengths[..., None] * norms[:, None] + 1e-6)
                mixed = gate * softmax(strength[..., None] * near, -1) + (1 - gate) * heads
                back, further = torch.roll(mixed, -1, -1), torch.roll(mixed, 1, -1)
                moved = shifts[..., :1] * back + shifts[..., 1:2] * mixed + shifts[..., 2:] * further
                sharp = torch.clamp(moved, min=1e-30) ** gamma
                heads = sharp / sharp.sum(-1, keepdim=True)
                erase, add = torch.sigmoid(z[:, 2 * size : 2 * size + M]), torch.tanh(z[:, 2 * size + M :])
                written = heads[:, 1, :, None]
                memory = memory * (1 - written * erase[:, None]) + written * add[:, None]
                read = (heads[:, :1] @ memory)[:, 0]
                outputs.append(torch.cat([h, read], -1))
            return torch.stack(outputs) @ self.readout + self.readout_bias

    return Machine()


def pytorch(threads: int) -> Turn:
    """Runs the same step in PyTorch."""
    import jax
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    model = torch_machine(jax.tree.map(np.asarray, our_model()[1]))
    drawn = sequences()
    asked = [torch.tensor(targets >= 0) for targets in drawn.targets]
    wanted = [torch.tensor(np.maximum(targets, 0), dtype=torch.float32) for targets in drawn.targets]
    inputs = [torch.tensor(batch) for batch in drawn.inputs]

    def loss(xs: Any, ys: Any, where: Any) -> Any:
        costs = torch.nn.functional.binary_cross_entropy_with_logits(model(xs), ys, reduction="none")
        return torch.where(where, costs, 0).sum() / B / np.log(2)

    batches = list(zip(inputs, wanted, asked, strict=True))
    return torch_steps(model, loss, batches, rate=RATE, clip=CLIP)


def serve(side: str) -> None:
    """Runs one turn per line read, and answers seconds per step and the losses; for a separate process."""
    cores = len(os.sched_getaffinity(0))
    turn = pytorch(cores) if side == "PyTorch" else ours(1 if side == "ours, one device" else cores)
    answer_turns(turn, STEPS)


def measure(say: Callable[..., None] = print, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Times the installed sides, in turns. Returns for each what `training_turns` does, of steps."""
    names = SIDES if importlib.util.find_spec("torch") else SIDES[:-1]
    rows = training_turns({name: Worker("benchmarks.turing", WORKER, name) for name in names}, 1, rounds)
    say("Neural Turing machine's step done", flush=True)
    return rows


if __name__ == "__main__":
    run("turing", __doc__, measure, serve)
