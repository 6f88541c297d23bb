"""Training steps of one model side by side: each side in a process of its own, in turns, over several sizes."""

import importlib.util
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.command import WORKER
from benchmarks.compare import Worker
from benchmarks.language_model import Turn, answer_turns, training_turns

Side = Callable[[Any, int], Turn]  # prepares a turn of a size on a number of cores


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
