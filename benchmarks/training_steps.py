"""Training steps of one model side by side: each side in a process of its own, in turns, over several sizes."""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.command import WORKER
from benchmarks.compare import Worker, in_turns, quartiles

Turn = Callable[[], list[float]]
"""A fixed number of updates: their losses."""
Side = Callable[[Any, int], Turn]  # prepares a turn of a size on a number of cores


def our_turn(
    params: Any, batches: Sequence[Any], loss: Any, optimizer: Any, devices: int, carry: Any = ()
) -> Turn:
    """Returns a turn of `train_chunk`, a call for each of `batches`, of leaves `[steps, …]`; parameters stay on the
    devices from turn to turn."""
    import jax

    from train import batch_mesh, create_state, train_chunk
    from train.step import on_devices

    mesh = batch_mesh(devices)
    held = [on_devices(create_state(params, optimizer, jax.random.key(0), carry), mesh)]

    def turn() -> list[float]:
        state, losses = held.pop(), []
        for batch in batches:
            steps = len(jax.tree.leaves(batch)[0])
            state, metrics = train_chunk(state, batch, steps, loss_fn=loss, optimizer=optimizer, mesh=mesh)
            losses.append(metrics["loss"])
        held.append(jax.block_until_ready(state))
        return np.concatenate(losses).tolist()

    return turn


def torch_steps(
    model: Any, loss_of: Callable[..., Any], batches: Sequence[Any], *, rate: float, clip: float
) -> Turn:
    """Returns a turn of PyTorch: Adam and clipping of the global norm, a step for each of `batches`, the arguments
    of `loss_of`."""
    import torch  # pyright: ignore[reportMissingImports]

    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)

    def turn() -> list[float]:
        losses = []
        for batch in batches:
            optimizer.zero_grad()
            loss = loss_of(*batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            losses.append(loss.item())
        return losses

    return turn


def packed_and_padded(ours: Side, pytorch: Callable[..., Turn]) -> dict[str, Side]:
    """Returns the sides of a model of sentences: PyTorch's recurrence reads them packed, or with their padding."""
    return {
        "ours": ours,
        "ours, one device": lambda size, cores: ours(size, 1),
        "PyTorch, packed": partial(pytorch, packed=True),
        "PyTorch, padded": partial(pytorch, packed=False),
    }


@dataclass(frozen=True)
class TrainingSteps:
    """The sides of a comparison and its sizes, dataclasses with `name` and `steps`.

    Attributes:
        name: of the module, `benchmarks.NAME`, whose main function is `run(NAME, …, measure, serve)`.
        sides: by their names the function of a size and a number of cores that prepares a turn; ours first. The
            names of those that need PyTorch begin with its own.
        sizes: to measure.
        tokens: of a step of a size.
        about: what is said to be done, before a size's name.
        rounds: turns of each side.
    """

    name: str
    sides: Mapping[str, Side]
    sizes: Sequence[Any]
    tokens: Callable[[Any], float]
    about: str
    rounds: int = 7

    def installed(self) -> list[str]:
        """Returns the names of the sides that can run here."""
        torch = importlib.util.find_spec("torch")
        return [side for side in self.sides if torch or not side.startswith("PyTorch")]

    def serve(self, side: str, size: str) -> None:
        """Runs one turn per line read, and answers seconds per step and the losses; for a separate process. The
        size is JSON."""
        kind = type(self.sizes[0])
        given = kind(**json.loads(size))
        turn = self.sides[side](given, len(os.sched_getaffinity(0)))
        answer_turns(turn, given.steps)

    def measure(
        self,
        say: Callable[..., None] = print,
        rounds: int | None = None,
        sizes: Sequence[Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Times the installed sides, in turns. Returns for each `size` and `side` what `training_turns` does."""
        rows = []
        for size in self.sizes if sizes is None else sizes:
            given = json.dumps(vars(size))
            workers = {
                side: Worker(f"benchmarks.{self.name}", WORKER, side, given) for side in self.installed()
            }
            found = training_turns(workers, self.tokens(size), rounds or self.rounds)
            rows += [{"size": size.name} | row for row in found]
            say(f"{self.about} {size.name} done", flush=True)
        return rows


def answer_turns(turn: Turn, steps: int) -> None:
    """Runs a turn of so many steps per line read, and answers seconds per step and the losses."""
    for _ in sys.stdin:
        began = time.perf_counter()
        losses = turn()
        answer = {"seconds": (time.perf_counter() - began) / steps, "losses": losses}
        print(json.dumps(answer), flush=True)


def training_turns(sides: dict[str, Worker], tokens: float, rounds: int) -> list[dict[str, Any]]:
    """Times training steps of `tokens` tokens, in turns, and closes the sides.

    Returns for each `side` `quartiles` (seconds per step, over the turns), `tokens_per_second` (from their median),
    and `apart`, the largest relative difference of a loss from ours.

    Raises ValueError if a side's losses aren't ours, so that it doesn't do the same work.
    """
    _, apart, times = in_turns(sides, rounds, same_losses)
    return [
        {
            "side": name,
            "quartiles": quartiles(found),
            "tokens_per_second": tokens / median(found),
            "apart": apart[name],
        }
        for name, found in times.items()
    ]


def same_losses(answer: dict[str, Any], ours: dict[str, Any]) -> float:
    """Computes the largest relative difference of losses from ours. Raises ValueError if it is above 1e-3."""
    apart = difference(answer["losses"], ours["losses"])
    if not apart <= 1e-3:  # NaN is no agreement
        raise ValueError(f"not the same work: losses differ from ours by {apart}")
    return apart


def difference(losses: list[float], others: list[float]) -> float:
    """Computes the largest relative difference."""
    return float(np.max(np.abs(np.array(losses) / np.array(others) - 1)))
