"""A training step of Zaremba, Sutskever & Vinyals' small language model: `train_chunk` against PyTorch.

Embedding, two LSTMs of 200 units, softmax over 10,000 words, the loss summed over 20 steps and averaged over 20
rows, clipping of the global norm at 5, plain gradient descent, the state carried. Each side runs in its own
process, in turns, from the same weights over the same words, and the losses must agree.

    python -m benchmarks.language_model      measures this alone, and writes its part of docs/benchmarks.md
"""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.command import WORKER, run
from benchmarks.compare import Worker
from benchmarks.training_steps import Turn, answer_turns, our_turn, training_turns

V, H, T, B = 10_000, 200, 20, 20
STEPS = 20  # of a turn
ROUNDS = 7
SIDES = ("ours", "ours, one device", "PyTorch")


def words() -> np.ndarray:
    """Returns one chunk of text, which is read repeatedly: `[B · T · STEPS]` word ids."""
    return np.random.default_rng(0).integers(0, V, B * T * STEPS).astype(np.int32)


def weights() -> dict[str, np.ndarray]:
    """Draws weights uniform in ±0.1, under PyTorch's names; the second biases are zero."""
    random = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray:
        return random.uniform(-0.1, 0.1, size=shape).astype(np.float32)

    found = {"embedding": draw(V, H), "readout": draw(V, H), "bias": draw(V)}
    for layer in range(2):
        found |= {f"weight_ih_l{layer}": draw(4 * H, H), f"weight_hh_l{layer}": draw(4 * H, H)}
        found |= {f"bias_ih_l{layer}": draw(4 * H), f"bias_hh_l{layer}": np.zeros(4 * H, np.float32)}
    return found


def ours(devices: int) -> Turn:
    """Runs the step of `python -m experiments language_model --preset zaremba_small`, including metrics."""
    import jax

    jax.config.update("jax_num_cpu_devices", devices)
    import jax.numpy as jnp

    from data import StreamBatches
    from experiments.language.language_model import PRESETS
    from experiments.language.objective import StreamLoss
    from models import LanguageModel
    from models.weights.torch_stack import from_torch_stack

    preset, arrays = PRESETS["zaremba_small"], weights()
    cell = preset.network.build(preset.cell, H)
    model = LanguageModel(cell, vocabulary_size=V, embedding_size=H)
    params = {
        "params": {
            "embedding": {"embedding": jnp.asarray(arrays["embedding"])},
            "recurrent": {"cell": from_torch_stack(cell, arrays)},
            "kernel": jnp.asarray(arrays["readout"].T),
            "bias": jnp.asarray(arrays["bias"]),
        }
    }
    loss = StreamLoss(model, "row")
    _, optimizer = preset.resolved(2324)
    batches = StreamBatches(words(), batch_size=B, length=T, before=0).take(STEPS)
    return our_turn(params, [batches], loss, optimizer, devices, loss.first_carry(params, B))


def pytorch(threads: int) -> Turn:
    """Runs the same step with `torch.nn`, written as in its documentation."""
    import torch  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(threads)
    arrays = {name: torch.tensor(array) for name, array in weights().items()}
    embedding, lstm, readout = torch.nn.Embedding(V, H), torch.nn.LSTM(H, H, 2), torch.nn.Linear(H, V)
    with torch.no_grad():
        embedding.weight.copy_(arrays.pop("embedding"))
        readout.weight.copy_(arrays.pop("readout"))
        readout.bias.copy_(arrays.pop("bias"))
    lstm.load_state_dict(arrays)
    parameters = [*embedding.parameters(), *lstm.parameters(), *readout.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    targets = torch.tensor(words().reshape(B, STEPS, T).transpose(1, 2, 0).astype(np.int64))
    seen = np.concatenate([[0], words()[:-1]]).reshape(B, STEPS, T).transpose(1, 2, 0).astype(np.int64)
    inputs = torch.tensor(seen)

    def turn() -> list[float]:
        losses, state = [], None
        for tokens, following in zip(inputs, targets, strict=True):
            optimizer.zero_grad()
            ys, state = lstm(embedding(tokens), state)
            logits = readout(ys).reshape(-1, V)
            loss = torch.nn.functional.cross_entropy(logits, following.reshape(-1), reduction="sum") / B
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            state = tuple(part.detach() for part in state)
            losses.append(loss.item())
        return losses

    return turn


def serve(side: str) -> None:
    """Runs one turn per line read, and answers seconds per step and the losses; for a separate process."""
    cores = len(os.sched_getaffinity(0))
    turn = pytorch(cores) if side == "PyTorch" else ours(1 if side == "ours, one device" else cores)
    answer_turns(turn, STEPS)


def measure(say: Callable[..., None] = print, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Times the installed sides, in turns. Returns for each what `training_turns` does."""
    names = SIDES if importlib.util.find_spec("torch") else SIDES[:-1]
    rows = training_turns(
        {name: Worker("benchmarks.language_model", WORKER, name) for name in names}, T * B, rounds
    )
    say("language model's step done", flush=True)
    return rows


if __name__ == "__main__":
    run("language_model", __doc__, measure, serve)
